use std::time::Duration;

use tempfile::tempdir;

use crate::core::delivery::DeadReason;

use super::super::{DeliveryCounts, DeliveryState, RECEIVER_REMOVED, SettleError, StoreReader};
use super::*;

const DELAY: Duration = Duration::from_secs(600);

#[tokio::test]
async fn each_verdict_does_what_it_says_to_the_delivery_and_its_lane() {
    use DeliveryState::{Dead, Delivered, Pending};
    let rejected = DeadReason::PayloadRejected;
    for (verdict, state, reason, attempts, moves_on) in [
        (Verdict::Delivered, Delivered, None, 1, true),
        (
            Verdict::Dead(rejected),
            Dead,
            Some("payload_rejected"),
            1,
            true,
        ),
        (Verdict::Retry(DELAY), Pending, None, 1, false),
        (Verdict::HoldReceiver(DELAY), Pending, None, 0, false),
    ] {
        let folder = tempdir().unwrap();
        let (store, clock) = open(folder.path());
        let commits = vec![
            telling(1, 1, receivers(["a"])),
            telling(1, 2, receivers(["a"])),
        ];
        store.commit(commits).await.unwrap();
        let head = heads(&store).await.remove(0);
        let before = clock.steady();
        store.settle(settlement(&head, verdict)).await.unwrap();
        let after = clock.steady();

        let stored = store.deliveries_of(event_id(1)).await.unwrap().remove(0);
        assert_eq!(stored.state, state, "{verdict:?}");
        assert_eq!(stored.reason.as_deref(), reason, "{verdict:?}");
        assert_eq!(stored.attempts, attempts, "{verdict:?}");
        assert_eq!(stored.ended.is_some(), moves_on, "{verdict:?}");

        let next = heads(&store).await.remove(0);
        let (event, delay) = if moves_on {
            (2, Duration::ZERO)
        } else {
            (1, DELAY)
        };
        assert_eq!(next.event_id, event_id(event), "{verdict:?}");
        assert_eq!(next.attempts, if moves_on { 0 } else { attempts });
        let due = store.next_due(Except::default()).await.unwrap().unwrap();
        assert!(before + delay <= due && due <= after + delay, "{verdict:?}");
        let made = store.attempts_of(event_id(1)).await.unwrap();
        assert_eq!(made.len(), 1);
        assert_eq!(made[0].duration, Duration::from_millis(120));
    }
}

#[tokio::test]
async fn only_the_head_of_a_lane_can_be_settled_and_only_once() {
    let folder = tempdir().unwrap();
    let (store, _) = open(folder.path());
    store
        .commit(vec![telling(1, 1, receivers(["a"]))])
        .await
        .unwrap();
    let head = heads(&store).await.remove(0);
    let mut wrong = settlement(&head, Verdict::Delivered);
    wrong.sequence += 1;
    let refused = store.settle(wrong).await.unwrap_err();
    assert!(matches!(refused, SettleError::NotHead { .. }), "{refused}");
    let right = settlement(&head, Verdict::Delivered);
    store.settle(right.clone()).await.unwrap();
    let refused = store.settle(right).await.unwrap_err();
    assert!(matches!(refused, SettleError::NotHead { .. }), "{refused}");
    assert_eq!(store.outbox().await.unwrap().total.delivered, 1);
}

#[tokio::test]
async fn receivers_take_turns_and_what_is_in_flight_or_held_is_left_out() {
    let folder = tempdir().unwrap();
    let (store, _) = open(folder.path());
    for (event, number, names) in [
        (1, 1, receivers(["loud"])),
        (2, 2, receivers(["loud"])),
        (3, 3, receivers(["loud", "soft"])),
    ] {
        store
            .commit(vec![telling(number, event, names)])
            .await
            .unwrap();
    }
    let due = |limit, except| {
        let asked = store.due_deliveries(END_OF_TIME, limit, except);
        async {
            let due = asked.await.unwrap();
            due.into_iter()
                .map(|delivery| (delivery.lane.receiver.to_string(), delivery.event_id))
                .collect::<Vec<_>>()
        }
    };
    let expected = |list: &[(&str, u128)]| {
        list.iter()
            .map(|&(receiver, event)| (receiver.to_owned(), event_id(event)))
            .collect::<Vec<_>>()
    };
    let all = expected(&[("loud", 1), ("soft", 3), ("loud", 2), ("loud", 3)]);
    assert_eq!(due(9, Except::default()).await, all);
    assert_eq!(due(2, Except::default()).await, all[..2]);

    let first = heads(&store).await.remove(0).lane;
    let mut except = Except::default();
    except.lanes.insert(first);
    assert_eq!(due(1, except.clone()).await, expected(&[("loud", 2)]));
    except.receivers.extend(receivers(["loud"]));
    assert_eq!(due(9, except.clone()).await, expected(&[("soft", 3)]));
    except.receivers.extend(receivers(["soft"]));
    assert_eq!(due(9, except.clone()).await, []);
    assert_eq!(store.next_due(except).await.unwrap(), None);
}

#[tokio::test]
async fn a_restart_continues_every_lane_where_it_was() {
    let folder = tempdir().unwrap();
    let (store, _) = open(folder.path());
    let commits = (0..6)
        .map(|event| telling(event % 2, event as u128, receivers(["a", "b"])))
        .collect();
    store.commit(commits).await.unwrap();
    let verdicts = [
        Verdict::Delivered,
        Verdict::Retry(DELAY),
        Verdict::HoldReceiver(DELAY),
        Verdict::Dead(DeadReason::MaxAge),
    ];
    for (head, verdict) in heads(&store).await.iter().zip(verdicts) {
        store.settle(settlement(head, verdict)).await.unwrap();
    }
    let heads_before = heads(&store).await;
    let outbox_before = store.outbox().await.unwrap();
    let next_before = store.next_due(Except::default()).await.unwrap();
    store.close().await;

    let (store, _) = open(folder.path());
    assert_eq!(heads(&store).await, heads_before);
    assert_eq!(store.outbox().await.unwrap(), outbox_before);
    assert_eq!(
        store.next_due(Except::default()).await.unwrap(),
        next_before
    );
}

#[tokio::test]
async fn what_waits_for_removed_receivers_ends_settled_and_visible() {
    let folder = tempdir().unwrap();
    let (store, _) = open(folder.path());
    let committed = store
        .commit(vec![
            telling(1, 1, receivers(["kept", "left"])),
            telling(1, 2, receivers(["kept", "left"])),
            telling(2, 3, receivers(["left"])),
        ])
        .await
        .unwrap();
    let left = heads(&store)
        .await
        .into_iter()
        .find(|head| head.lane.receiver.as_str() == "left" && head.event_id == event_id(1))
        .unwrap();
    store
        .settle(settlement(&left, Verdict::Delivered))
        .await
        .unwrap();

    let configured = receivers(["kept", "new"]);
    assert_eq!(
        store.settle_removed_receivers(&configured).await.unwrap(),
        2
    );
    assert_eq!(
        store.settle_removed_receivers(&configured).await.unwrap(),
        0
    );
    store.close().await;

    let reader = StoreReader::open(folder.path()).unwrap();
    let outbox = reader.outbox().unwrap();
    let expected = DeliveryCounts {
        delivered: 1,
        settled: 2,
        ..DeliveryCounts::default()
    };
    assert_eq!(outbox.receivers[&left.lane.receiver], expected);
    assert_eq!(outbox.total.pending, 2);
    assert_eq!(outbox.total.oldest_pending, Some(committed[0].time));
    let settled = reader.deliveries_of(&event_id(3)).unwrap().remove(0);
    assert_eq!(settled.state, DeliveryState::Settled);
    assert_eq!(settled.reason.as_deref(), Some(RECEIVER_REMOVED));
    assert!(settled.ended.is_some());
}

#[tokio::test]
async fn the_newest_twenty_attempts_of_a_delivery_are_kept_and_long_results_cut() {
    let folder = tempdir().unwrap();
    let (store, _) = open(folder.path());
    store
        .commit(vec![telling(1, 1, receivers(["a"]))])
        .await
        .unwrap();
    let head = heads(&store).await.remove(0);
    for number in 0..25 {
        let mut attempt = settlement(&head, Verdict::Retry(Duration::ZERO));
        attempt.result = format!("{number:02}{}", "ü".repeat(2000));
        store.settle(attempt).await.unwrap();
    }
    assert_eq!(heads(&store).await[0].attempts, 25);
    let kept = store.attempts_of(event_id(1)).await.unwrap();
    assert_eq!(kept.len(), 20);
    assert!(kept[0].result.starts_with("05") && kept[19].result.starts_with("24"));
    assert!(kept.iter().all(|attempt| attempt.result.len() == 2048));
}

//! Everything random of a fleet, from one seed.
//!
//! Each instance draws from a stream of its own, and each draw has a fixed place in that stream.
//! So what one instance draws depends neither on the others nor on when anybody looks, and a
//! generator need not be kept per instance: at a million of them that would be 300 MB.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::scenario::Span;

/// How far apart two draws of a stream are, in words of 32 bits. A draw from a range takes two
/// words and seldom more; one block of the cipher leaves it room enough.
const WORDS_PER_DRAW: u128 = 16;

/// The characters of an instance ID after its prefix.
const ID_ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// How long an instance ID is (`i-bp1` and 17 more, as ECS gives them out).
const ID_LENGTH: usize = 22;

/// What a stream of draws is for. Streams of different purposes never meet.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    /// The heartbeats of the instance with this number.
    Heartbeats(u32),
    /// The ID of the instance with this number.
    InstanceId(u32),
    /// When the instance with this number boots.
    Boot(u32),
    /// Which instances the step with this number takes, and when.
    Step(u32),
    /// The IDs of the answers.
    RequestIds,
}

impl Purpose {
    const fn stream(self) -> u64 {
        let (kind, number) = match self {
            Self::Heartbeats(number) => (0, number),
            Self::InstanceId(number) => (1, number),
            Self::Boot(number) => (2, number),
            Self::Step(number) => (3, number),
            Self::RequestIds => (4, 0),
        };
        (kind << 32) | number as u64
    }
}

/// The source of all draws.
#[derive(Debug, Clone)]
pub(super) struct Chance(ChaCha8Rng);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// The whole stream of one purpose, from its beginning.
    pub(super) fn stream(&self, purpose: Purpose) -> ChaCha8Rng {
        let mut generator = self.0.clone();
        generator.set_stream(purpose.stream());
        generator
    }

    /// Draw number `draw` of a stream: a duration within the span, in whole microseconds.
    pub(super) fn within(&self, span: Span, purpose: Purpose, draw: u32) -> Duration {
        let mut generator = self.stream(purpose);
        generator.set_word_pos(u128::from(draw) * WORDS_PER_DRAW);
        draw_within(span, &mut generator)
    }
}

/// A duration within the span, both ends included, in whole microseconds.
pub(super) fn draw_within(span: Span, generator: &mut ChaCha8Rng) -> Duration {
    let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let (min, max) = (micros(span.min), micros(span.max));
    Duration::from_micros(generator.random_range(min..=max.max(min)))
}

/// A text in the form of an ECS instance ID of this region.
pub(super) fn draw_instance_id(region: &str, generator: &mut ChaCha8Rng) -> String {
    let mut id = format!("i-{}", region_prefix(region));
    // 36 to the power of 17 is far below 2 to the power of 128: one draw holds all characters.
    let mut random = generator.random::<u128>();
    while id.len() < ID_LENGTH {
        let index = usize::try_from(random % 36).unwrap_or_default();
        id.extend(ID_ALPHABET.get(index).copied().map(char::from));
        random /= 36;
    }
    id
}

/// Three characters by which people know the region of an ID: the cloud's own for the regions
/// met most, else the initials of the region's name.
fn region_prefix(region: &str) -> String {
    match region {
        "cn-hangzhou" => "bp1".to_owned(),
        "cn-beijing" => "2ze".to_owned(),
        "cn-shanghai" => "uf6".to_owned(),
        "cn-shenzhen" => "wz9".to_owned(),
        "ap-southeast-1" => "t4n".to_owned(),
        other => {
            let initials = other.split('-').filter_map(|part| part.chars().next());
            initials.chain("000".chars()).take(3).collect()
        }
    }
}

/// A request ID as the cloud writes it: an upper-case UUID.
pub(super) fn draw_request_id(generator: &mut ChaCha8Rng) -> String {
    let hex = format!("{:032X}", generator.random::<u128>());
    let (first, rest) = hex.split_at(8);
    let (second, rest) = rest.split_at(4);
    let (third, rest) = rest.split_at(4);
    let (fourth, fifth) = rest.split_at(4);
    format!("{first}-{second}-{third}-{fourth}-{fifth}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::id::InstanceId;

    #[test]
    fn a_draw_is_the_same_whenever_it_is_made() {
        let (a, b) = (Chance::new(7), Chance::new(7));
        let span = Span::new(Duration::from_secs(55), Duration::from_secs(65));
        let later = a.within(span, Purpose::Heartbeats(3), 9);
        let before = b.within(span, Purpose::Heartbeats(3), 8);
        assert_eq!(b.within(span, Purpose::Heartbeats(3), 9), later);
        assert_ne!(before, later);
        assert_ne!(
            Chance::new(8).within(span, Purpose::Heartbeats(3), 9),
            later
        );
    }

    #[test]
    fn instance_ids_have_the_length_and_the_prefix_of_their_region() {
        let mut generator = Chance::new(1).stream(Purpose::InstanceId(0));
        for (region, prefix) in [
            ("cn-hangzhou", "i-bp1"),
            ("ap-southeast-3", "i-as3"),
            ("eu-1", "i-e10"),
        ] {
            let id = draw_instance_id(region, &mut generator);
            assert_eq!(id.len(), 22, "{id}");
            assert!(id.starts_with(prefix), "{id}");
            assert!(id.parse::<InstanceId>().is_ok(), "{id}");
        }
    }

    #[test]
    fn request_ids_are_upper_case_uuids() {
        let id = draw_request_id(&mut Chance::new(1).stream(Purpose::RequestIds));
        let lengths: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(id, id.to_uppercase());
    }
}

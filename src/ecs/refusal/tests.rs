//! Every documented code and what it means; what a refusal says and what it keeps to itself.

use super::*;

fn refusal(status: u16, code: &str, message: &str) -> Refusal {
    let body = ErrorBody {
        code: code.to_owned(),
        message: message.to_owned(),
        request_id: "R-1".to_owned(),
        ..ErrorBody::default()
    };
    Refusal::by_service(status, &body, None)
}

const THROTTLED: Disposition = Disposition::Throttled { after: None };

#[test]
fn codes_that_pass_are_tried_again_whatever_their_status() {
    for (status, code, expected) in [
        (400, "Throttling", THROTTLED),
        (400, "Throttling.User", THROTTLED),
        (400, "Throttling.Api", THROTTLED),
        (503, "Rejected.Throttling", THROTTLED),
        (200, "Throttling.User", THROTTLED),
        (429, "Whatever", THROTTLED),
        (404, "InvalidInstance.NotFound", Disposition::NotFound),
        (404, "InvalidInstanceIds.NotFound", Disposition::NotFound),
        (400, "UnknownError", Disposition::Retry),
        (400, "SignatureNonceUsed", Disposition::Retry),
        (400, "InvalidTimeStamp.Expired", Disposition::Retry),
        (500, "InternalError", Disposition::Retry),
        (500, "InternalError.Dispatch", Disposition::Retry),
        (500, "ServiceUnavailable", Disposition::Retry),
        (503, "ServiceUnavailable", Disposition::Retry),
        (
            503,
            "ServiceUnavailable.RegionMaintaining",
            Disposition::Retry,
        ),
        (599, "NeverHeardOf", Disposition::Retry),
        (200, "NeverHeardOf", Disposition::Retry),
    ] {
        let refusal = refusal(status, code, "");
        assert_eq!(refusal.disposition(), expected, "{status} {code}");
    }
}

#[test]
fn codes_that_wait_for_a_person_are_permanent_and_say_what_to_do() {
    for (status, code, advice) in [
        (
            404,
            "InvalidAccessKeyId.NotFound",
            "the access key is unknown",
        ),
        (
            400,
            "InvalidAccessKeyId.Inactive",
            "the access key is unknown",
        ),
        (
            403,
            "Forbidden.AccessKeyDisabled",
            "the access key is unknown",
        ),
        (400, "MissingAccessKeyId", "the access key is unknown"),
        (400, "SignatureDoesNotMatch", "the secret does not belong"),
        (400, "IncompleteSignature", "the secret does not belong"),
        (400, "InvalidSecurityToken.Expired", "the security token"),
        (
            400,
            "InvalidSecurityToken.MismatchWithAccessKey",
            "the security token",
        ),
        (400, "MissingSecurityToken", "the security token"),
        (403, "Forbidden.RAM", "ecs:DescribeCloudAssistantStatus"),
        (403, "Forbidden.SubUser", "ecs:DescribeCloudAssistantStatus"),
        (
            403,
            "Operation.Forbidden",
            "ecs:DescribeCloudAssistantStatus",
        ),
        (404, "InvalidRegionId.NotFound", "correct the region"),
        (400, "RegionId.ApiNotSupported", "correct the region"),
        (400, "MissingRegionId", "correct the region"),
        (400, "InvalidTimeStamp.Format", "does not understand"),
        (403, "InstanceIds.ExceedLimit", "does not understand"),
        (404, "InvalidAction.NotFound", "does not understand"),
        (400, "InvalidParameter", "does not understand"),
    ] {
        let refusal = refusal(status, code, "");
        assert_eq!(refusal.disposition(), Disposition::Permanent, "{code}");
        let shown = refusal.to_string();
        assert!(shown.contains(advice) && shown.contains(code), "{shown}");
    }
}

#[test]
fn an_expired_token_is_known_in_its_old_disguise() {
    let message = r#"The specified parameter "SecurityToken.Expired" is not valid."#;
    assert_eq!(
        refusal(400, "InvalidParameter", message).cause,
        Cause::Token
    );
}

#[test]
fn other_credentials_make_a_refusal_of_the_old_ones_pass() {
    for code in [
        "InvalidAccessKeyId.NotFound",
        "InvalidSecurityToken.Expired",
    ] {
        let mut refusal = refusal(400, code, "");
        assert!(refusal.blames_credentials());
        refusal.renewed = true;
        assert_eq!(refusal.disposition(), Disposition::Retry, "{code}");
    }
    assert!(!refusal(404, "InvalidRegionId.NotFound", "").blames_credentials());
}

#[test]
fn the_header_tells_throttling_where_the_code_does_not() {
    let after = Some(Duration::from_millis(1500));
    let throttled = Disposition::Throttled { after };
    for (status, code, expected) in [
        (400, "Throttling.User", throttled),
        (503, "ServiceUnavailable", throttled),
        (400, "FlowLimited", throttled),
        (403, "Forbidden.RAM", Disposition::Permanent),
    ] {
        let body = ErrorBody {
            code: code.to_owned(),
            ..ErrorBody::default()
        };
        let refusal = Refusal::by_service(status, &body, after);
        assert_eq!(refusal.disposition(), expected, "{code}");
    }
    assert_eq!(Refusal::by_status(502, after).disposition(), throttled);
}

#[test]
fn replies_of_proxies_are_judged_by_their_status() {
    for (status, expected) in [
        (301, Disposition::Permanent),
        (404, Disposition::Permanent),
        (408, Disposition::Retry),
        (429, THROTTLED),
        (500, Disposition::Retry),
        (502, Disposition::Retry),
    ] {
        let refusal = Refusal::by_status(status, None);
        assert_eq!(refusal.disposition(), expected, "{status}");
        assert!(refusal.to_string().contains("not the cloud API"));
    }
}

#[test]
fn the_services_sentence_is_repeated_on_one_line_unless_it_echoes_the_request() {
    let shown = refusal(403, "Forbidden.RAM", "not\nauthorized").to_string();
    assert!(shown.starts_with("refused with 403 Forbidden.RAM (not authorized), request R-1: "));
    let endless = refusal(403, "Forbidden.RAM", &"x".repeat(10_000));
    assert!(endless.to_string().len() < 600);

    let echo = "Specified signature does not match our calculation. server StringToSign is \
                [ACS3-HMAC-SHA256\nab] server CanonicalRequest is [x-acs-security-token:hush]";
    for code in ["SignatureDoesNotMatch", "IncompleteSignature", "NewName"] {
        let refusal = refusal(400, code, echo);
        assert!(!format!("{refusal} {refusal:?}").contains("hush"), "{code}");
    }
}

//! Known answers (the official vector and those computed with the official SDKs), and the rules a
//! verifier needs beyond them.

use super::*;

fn pairs(texts: &[(&str, &str)]) -> Vec<(String, String)> {
    texts
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn parts<'a>(query: &'a [(String, String)], headers: &'a [(String, String)]) -> SignedParts<'a> {
    SignedParts {
        method: "POST",
        path: "/",
        query,
        headers,
        payload_sha256: EMPTY_PAYLOAD_SHA256,
    }
}

const SECRET: &str = "YourAccessKeySecret";

/// The data beside this file: inputs and answers computed with two official SDKs.
fn vectors() -> serde_json::Value {
    serde_json::from_str(include_str!("../testdata/signature-vectors.json")).unwrap()
}

fn text_pairs(object: &serde_json::Value) -> Vec<(String, String)> {
    object
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
        .collect()
}

/// Vectors A, B and C: the name of their headers and of their answers.
const DERIVED: [(&str, &str); 3] = [
    ("headers_A", "A v3"),
    ("headers_B", "B v3 STS"),
    (
        "headers_C",
        "C v3 as python signs it (accept,user-agent signed too)",
    ),
];

#[test]
fn the_official_vector_is_reproduced() {
    let query = pairs(&[
        ("RegionId", "cn-shanghai"),
        (
            "ImageId",
            "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd",
        ),
    ]);
    let headers = pairs(&[
        ("Host", "ecs.cn-shanghai.aliyuncs.com"),
        ("x-acs-action", "RunInstances"),
        ("x-acs-content-sha256", EMPTY_PAYLOAD_SHA256),
        ("x-acs-date", "2023-10-26T10:22:32Z"),
        ("x-acs-signature-nonce", "3156853299f313e23d1673dc12e1703d"),
        ("x-acs-version", "2014-05-26"),
    ]);
    let signed = Authorization::sign(&parts(&query, &headers), "YourAccessKeyId", SECRET);
    let canonical = canonical_request(&parts(&query, &headers), &signed.signed_headers);
    assert_eq!(
        string_to_sign(&canonical),
        "ACS3-HMAC-SHA256\n7ea06492da5221eba5297e897ce16e55f964061054b7695beedaac1145b1e259"
    );
    assert_eq!(
        signed.signature,
        "06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"
    );
}

#[test]
fn the_sdks_vectors_are_reproduced_and_verified() {
    let data = vectors();
    let query = text_pairs(&data["inputs"]["query"]);
    for (headers, answer) in DERIVED {
        let headers = text_pairs(&data["inputs"][headers]);
        let parts = parts(&query, &headers);
        let answer = &data["vectors"][answer];
        let signed = Authorization::sign(&parts, "YourAccessKeyId", SECRET);
        assert_eq!(signed.to_header(), answer["authorization"], "{answer}");
        if let Some(expected) = answer["canonical_request"].as_str() {
            let canonical = canonical_request(&parts, &signed.signed_headers);
            assert_eq!(canonical, expected);
            assert_eq!(
                sha256_hex(canonical.as_bytes()),
                answer["hashed_canonical_request"]
            );
        }
        for form in ["authorization", "node_same_headers"] {
            if let Some(header) = answer[form].as_str() {
                let parsed = Authorization::parse(header).unwrap();
                assert_eq!(parsed.to_header(), header);
                assert_eq!(parsed.verify(&parts, SECRET), Ok(()), "{form}");
                assert!(parsed.verify(&parts, "another secret").is_err(), "{form}");
            }
        }
    }
}

#[test]
fn a_changed_request_is_rejected_and_an_unsigned_header_is_nobodys_business() {
    let query = pairs(&[("RegionId", "cn-hangzhou")]);
    let headers = pairs(&[("host", "127.0.0.1:1"), ("x-acs-version", "2014-05-26")]);
    let signed = Authorization::sign(&parts(&query, &headers), "id", SECRET);

    let mut more = headers.clone();
    more.extend(pairs(&[("accept-encoding", "gzip")]));
    assert_eq!(signed.verify(&parts(&query, &more), SECRET), Ok(()));

    let other_query = pairs(&[("RegionId", "cn-beijing")]);
    let mismatch = signed.verify(&parts(&other_query, &headers), SECRET);
    let mismatch = mismatch.unwrap_err();
    assert!(mismatch.canonical_request.contains("RegionId=cn-beijing"));
    assert!(!format!("{mismatch:?}").contains("cn-beijing"));
    for (header, reason) in [(0, "host"), (1, "version")] {
        let mut fewer = headers.clone();
        fewer.remove(header);
        let verdict = signed.verify(&parts(&query, &fewer), SECRET);
        assert!(verdict.is_err(), "{reason}");
    }
    for signature in ["", "0", "zz", "é", &"0".repeat(64), &"+f".repeat(32)] {
        let forged = Authorization {
            signature: signature.to_owned(),
            ..signed.clone()
        };
        let verdict = forged.verify(&parts(&query, &headers), SECRET);
        assert!(verdict.is_err(), "{signature}");
    }
}

#[test]
fn headers_of_one_name_are_sorted_and_joined() {
    let headers = pairs(&[("X-Acs-B", " 2 "), ("x-acs-b", "1"), ("host", "h")]);
    let signed = Authorization::sign(&parts(&[], &headers), "id", SECRET);
    assert_eq!(signed.signed_headers, ["host", "x-acs-b"]);
    let canonical = canonical_request(&parts(&[], &headers), &signed.signed_headers);
    assert!(canonical.contains("\nhost:h\nx-acs-b:1,2\n\nhost;x-acs-b\n"));
}

#[test]
fn every_way_to_write_a_query_decodes_to_the_same_pairs() {
    let expected = pairs(&[("NextToken", "a+/= *~é'(x)!"), ("Empty", "")]);
    for raw in [
        "NextToken=a%2B%2F%3D+*~%C3%A9'(x)!&Empty=",
        "NextToken=a%2b%2F=%20%2A~%C3%A9%27%28x%29%21&&Empty",
    ] {
        assert_eq!(decode_query(raw), expected, "{raw}");
    }
    assert_eq!(decode_query(""), []);
    assert_eq!(
        canonical_query(&expected),
        "Empty=&NextToken=a%2B%2F%3D%20%2A~%C3%A9%27%28x%29%21"
    );
}

#[test]
fn secrets_longer_than_a_block_are_hashed_first() {
    // RFC 4231's keys are no UTF-8, so the crate's own constructor is the judge.
    let long = "a".repeat(131);
    let mut expected = HmacSha256::new_from_slice(long.as_bytes()).unwrap();
    expected.update(b"text");
    let expected = expected.finalize().into_bytes();
    assert_eq!(keyed(&long, "text").finalize().into_bytes(), expected);
}

#[test]
fn authorizations_that_say_too_little_are_refused() {
    for (header, expected) in [
        ("", MalformedAuthorization::Algorithm),
        ("Bearer abc", MalformedAuthorization::Algorithm),
        (
            "ACS3-HMAC-SHA256x Credential=a",
            MalformedAuthorization::Algorithm,
        ),
        (
            "ACS3-HMAC-SHA256 Credential=,SignedHeaders=host,Signature=00",
            MalformedAuthorization::Missing("Credential"),
        ),
        (
            "ACS3-HMAC-SHA256 Credential=a,Signature=00",
            MalformedAuthorization::Missing("SignedHeaders"),
        ),
        (
            "ACS3-HMAC-SHA256 Credential=a,SignedHeaders=host",
            MalformedAuthorization::Missing("Signature"),
        ),
    ] {
        assert_eq!(Authorization::parse(header), Err(expected), "{header}");
    }
}

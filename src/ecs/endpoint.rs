//! Where the API answers.

use std::fmt;

use reqwest::Url;
use thiserror::Error;

/// Regions whose endpoint does not follow the rule, for the public network.
///
/// Source: the map in the official SDK for ECS 2014-05-26 (7.11).
const SPECIAL: [(&str, &[&str]); 5] = [
    (
        "ecs-cn-hangzhou.aliyuncs.com",
        &[
            "cn-hangzhou",
            "cn-shanghai-finance-1",
            "cn-shenzhen-finance-1",
        ],
    ),
    (
        "ecs.aliyuncs.com",
        &[
            "cn-north-2-gov-1",
            "cn-beijing-gov-1",
            "cn-hangzhou-finance",
            "cn-beijing-finance-pop",
            "cn-wuhan",
            "cn-zhangbei",
            "cn-yushanfang",
            "ap-northeast-2-pop",
            "rus-west-1-pop",
            "cn-hongkong-finance-pop",
            "cn-shanghai-inner",
            "cn-shenzhen-inner",
        ],
    ),
    (
        "ecs.cn-qingdao-nebula.aliyuncs.com",
        &[
            "cn-edge-1",
            "cn-huhehaote-nebula-1",
            "cn-zhengzhou-nebula-1",
        ],
    ),
    (
        "ecs.cn-shenzhen-cloudstone.aliyuncs.com",
        &["eu-west-1-oxs"],
    ),
    (
        "ecs.cn-zhangjiakou.aliyuncs.com",
        &["cn-zhangjiakou-na62-a01"],
    ),
];

/// Why there is no endpoint to call.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EndpointError {
    /// Not the ID of a region. It becomes part of a host name, so nothing else may be in it.
    #[error(
        "`{0}` is not the ID of a region: expected lower-case letters, digits and hyphens, like \
         `cn-hangzhou`"
    )]
    Region(String),
    /// Not an address to call.
    #[error(
        "`{0}` is not an endpoint: expected a host with an optional port, like \
         `ecs.cn-hangzhou.aliyuncs.com` or `http://127.0.0.1:8080`, without a path"
    )]
    Address(String),
}

/// An address of the API: scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    scheme: &'static str,
    authority: String,
}

impl Endpoint {
    /// The endpoint of a region; `explicit` overrides it. Without a scheme it is https.
    ///
    /// # Errors
    ///
    /// Where the region's ID, or the explicit endpoint, cannot be one.
    pub fn of(region: &str, explicit: Option<&str>) -> Result<Self, EndpointError> {
        let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        if region.is_empty() || !region.bytes().all(allowed) {
            return Err(EndpointError::Region(region.to_owned()));
        }
        match explicit {
            Some(address) => Self::parse(address),
            None => Ok(Self {
                scheme: "https",
                authority: regional_host(region),
            }),
        }
    }

    fn parse(address: &str) -> Result<Self, EndpointError> {
        let malformed = || EndpointError::Address(address.to_owned());
        let with_scheme = if address.contains("://") {
            address.to_owned()
        } else {
            format!("https://{address}")
        };
        let url = Url::parse(&with_scheme).map_err(|_| malformed())?;
        let bare = url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        let scheme = match url.scheme() {
            "https" => "https",
            "http" => "http",
            _ => return Err(malformed()),
        };
        let host = url.host_str().filter(|_| bare).ok_or_else(malformed)?;
        // The port is there only where it is not the scheme's own, as in the `Host` header.
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        Ok(Self { scheme, authority })
    }

    /// Host, and port where it is not the scheme's own: what the `Host` header says and what is
    /// signed as such.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The URL of a call with this query, which is already encoded.
    #[must_use]
    pub fn url(&self, encoded_query: &str) -> String {
        format!("{}://{}/?{encoded_query}", self.scheme, self.authority)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

fn regional_host(region: &str) -> String {
    SPECIAL
        .into_iter()
        .find(|(_, regions)| regions.contains(&region))
        .map_or_else(
            || format!("ecs.{region}.aliyuncs.com"),
            |(host, _)| host.to_owned(),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_has_its_endpoint_by_rule_or_by_the_table() {
        for (region, expected) in [
            ("cn-beijing", "https://ecs.cn-beijing.aliyuncs.com"),
            ("us-east-1", "https://ecs.us-east-1.aliyuncs.com"),
            ("cn-hangzhou", "https://ecs-cn-hangzhou.aliyuncs.com"),
            ("cn-wuhan", "https://ecs.aliyuncs.com"),
            ("cn-edge-1", "https://ecs.cn-qingdao-nebula.aliyuncs.com"),
        ] {
            let endpoint = Endpoint::of(region, None).unwrap();
            assert_eq!(endpoint.to_string(), expected);
        }
    }

    #[test]
    fn an_explicit_endpoint_overrides_and_keeps_its_scheme_and_port() {
        for (address, expected) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://localhost:80/", "http://localhost"),
            ("ECS.example.com", "https://ecs.example.com"),
            ("ecs.example.com:443", "https://ecs.example.com"),
            ("https://[::1]:9", "https://[::1]:9"),
        ] {
            let endpoint = Endpoint::of("cn-hangzhou", Some(address)).unwrap();
            assert_eq!(endpoint.to_string(), expected, "{address}");
        }
    }

    #[test]
    fn what_cannot_be_called_is_refused() {
        for region in ["", "cn_hangzhou", "CN", "a.evil.example/", "cn hangzhou"] {
            assert!(Endpoint::of(region, None).is_err(), "{region}");
        }
        for address in [
            "",
            "ftp://host",
            "http://",
            "host/path",
            "host?query",
            "user:password@host",
            "host:port",
        ] {
            let endpoint = Endpoint::of("cn-hangzhou", Some(address));
            assert!(endpoint.is_err(), "{address}");
        }
    }
}

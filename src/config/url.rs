//! What a URL in the settings must look like.

use reqwest::Url;

/// Says what is wrong with a URL, without repeating it: its path and query can hold tokens.
///
/// # Errors
///
/// Where it is no URL of http or https with a host and without user name and password.
pub(super) fn validate(text: &str) -> Result<(), &'static str> {
    let url = Url::parse(text).map_err(|_| "is not a URL")?;
    if !matches!(url.scheme(), "http" | "https") {
        Err("is neither http nor https")
    } else if url.host_str().is_none_or(str::is_empty) {
        Err("has no host")
    } else if !url.username().is_empty() || url.password().is_some() {
        Err("holds a user name or a password")
    } else if url.fragment().is_some() {
        Err("holds a fragment (#...), which is never sent")
    } else {
        Ok(())
    }
}

/// Scheme, host and port: what may be shown of a URL.
pub(super) fn origin_of(text: &str) -> String {
    match Url::parse(text) {
        Ok(url) => url.origin().ascii_serialization(),
        Err(_) => "(no URL)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_http_with_a_host_and_no_credentials() {
        let cases = [
            ("https://hooks.example.com/a?b=c", Ok(())),
            ("http://[::1]:8080", Ok(())),
            ("hooks.example.com", Err("is not a URL")),
            ("https://", Err("is not a URL")),
            ("ftp://example.com", Err("is neither http nor https")),
            (
                "https://u@example.com",
                Err("holds a user name or a password"),
            ),
            (
                "https://:p@example.com",
                Err("holds a user name or a password"),
            ),
            (
                "https://example.com/#x",
                Err("holds a fragment (#...), which is never sent"),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(validate(text), expected, "{text}");
        }
    }

    #[test]
    fn only_the_origin_of_a_url_is_shown() {
        let shown = origin_of("https://hooks.example.com/services/T0/s3cret?token=x");
        assert_eq!(shown, "https://hooks.example.com");
    }
}

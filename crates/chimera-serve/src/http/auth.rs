//! Who may ask: the bearer token. How it got into the options is not here.

use std::hint::black_box;

use axum::http::{HeaderMap, header::AUTHORIZATION};

/// Whether the request carries the token. The time it takes depends on the length of what was sent alone.
pub(crate) fn allowed(headers: &HeaderMap, token: &str) -> bool {
    let Some(sent) = headers.get(AUTHORIZATION).map(|value| value.as_bytes()) else { return false };
    let Some((scheme, sent)) = sent.split_at_checked(7) else { return false };
    scheme.eq_ignore_ascii_case(b"bearer ") && same(sent, token.as_bytes())
}

fn same(sent: &[u8], token: &[u8]) -> bool {
    let mut difference = u8::from(sent.len() != token.len());
    for (index, byte) in sent.iter().enumerate() {
        difference |= byte ^ token.get(index).copied().unwrap_or(!byte);
        difference = black_box(difference);
    }
    difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_opens() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, value.parse().unwrap());
            allowed(&headers, "secret")
        };
        assert!(with("Bearer secret") && with("bearer secret"));
        for wrong in ["Bearer secre", "Bearer secrets", "Bearer ", "Bearer", "Basic secret", "secret", ""] {
            assert!(!with(wrong), "{wrong}");
        }
        assert!(!allowed(&HeaderMap::new(), "secret"));
    }
}

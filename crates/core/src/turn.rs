//! Credentials for a TURN server that shares a secret with us, good for one peer and a while: the scheme of
//! draft-uberti-behave-turn-rest, which coturn calls `use-auth-secret`. Pure.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;

use crate::config::{IceServer, TurnConfig};
use crate::event::PeerId;

/// What `peer` is told, at so many seconds since 1970.
pub(crate) fn ice_server(config: &TurnConfig, peer: PeerId, now: u64) -> IceServer {
    let username = format!("{}:{peer}", now + config.ttl.as_secs());
    let key = hmac::Key::new(
        // What TURN servers expect; HMAC does not suffer from what SHA-1 does.
        hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        config.secret.as_bytes(),
    );
    let credential = BASE64_STANDARD.encode(hmac::sign(&key, username.as_bytes()));
    IceServer {
        urls: config.urls.clone(),
        username: Some(username),
        credential: Some(credential),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_password_is_what_openssl_makes_of_the_name() {
        let config = TurnConfig {
            urls: vec!["turn:a".to_owned()],
            secret: "north".to_owned(),
            ttl: Duration::from_secs(600),
        };
        let server = ice_server(&config, PeerId::nil(), 1_000);
        let name = "1600:00000000-0000-0000-0000-000000000000";
        assert_eq!(server.username.as_deref(), Some(name));
        // printf %s NAME | openssl dgst -sha1 -hmac north -binary | base64
        assert_eq!(
            server.credential.as_deref(),
            Some("7R+rpo7pEQUtHQ1fSWyjYs4A8FY=")
        );
    }
}

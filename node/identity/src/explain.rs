//! Turns the errors that TLS leaves behind into a sentence: what happened, and what to do next.
//!
//! A refused certificate shows up far from where it was refused, wrapped by io, hyper, tonic; and the far side tells us
//! only by an alert. So the whole chain of causes is walked.

use std::error::Error as StdError;
use std::io;

use rustls::{AlertDescription, CertificateError, InvalidMessage};

use crate::connector::ConnectError;
use crate::refusal::RefusedCertificate;

/// Causes deeper than this are not looked at.
const MAX_DEPTH: usize = 32;

/// The causes of an error, itself first, including those that `source()` passes over.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| next_cause(*error)).take(MAX_DEPTH)
}

fn next_cause<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    // The source of an io::Error is the source of what it wraps: the wrapped error itself would be passed over.
    if let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        return Some(inner);
    }
    // rustls::Error tells no source at all.
    if let Some(rustls::Error::InvalidCertificate(CertificateError::Other(other))) = error.downcast_ref() {
        return Some(other.0.as_ref());
    }
    error.source()
}

/// The reason for which *this side* refused the other's certificate, if that is what lies behind an error.
pub fn refused_certificate<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a RefusedCertificate> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// What TLS says about an error, in a sentence for a person: our own refusal, an alert by which the far side refused us,
/// something else than TLS on the line. `None` where TLS had no part in it.
pub fn explain_tls_error(error: &(dyn StdError + 'static)) -> Option<String> {
    if let Some(refusal) = refused_certificate(error) {
        return Some(format!("the far side's certificate was refused: {refusal}"));
    }
    causes(error).find_map(explain_cause)
}

fn explain_cause(cause: &(dyn StdError + 'static)) -> Option<String> {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    if let Some(error) = cause.downcast_ref::<rustls::Error>() {
        return Some(explain_rustls(error));
    }
    if let Some(ConnectError::Tls { source, .. }) = cause.downcast_ref()
        && matches!(source.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
    {
        return Some(
            "the far side closed the connection during the TLS handshake: it may be shutting down or at its limits, or be no comity node; check the address, then try again".to_owned(),
        );
    }
    if let Some(timed_out) = cause.downcast_ref::<crate::handshake::HandshakeTimedOut>() {
        return Some(timed_out.to_string());
    }
    // h2 keeps an io error as its text alone, so that behind an RPC the text is all there is.
    let text = cause.to_string();
    let name = text.split("received fatal alert: ").nth(1)?;
    let name = name.split(|c: char| !c.is_ascii_alphanumeric()).next()?;
    let alert = NAMED_ALERTS.into_iter().find(|alert| format!("{alert:?}") == name)?;
    Some(explain_alert(alert))
}

const NAMED_ALERTS: [AlertDescription; 13] = [
    AlertDescription::CertificateExpired,
    AlertDescription::UnknownCA,
    AlertDescription::CertificateRequired,
    AlertDescription::BadCertificate,
    AlertDescription::UnsupportedCertificate,
    AlertDescription::CertificateUnknown,
    AlertDescription::CertificateRevoked,
    AlertDescription::AccessDenied,
    AlertDescription::ProtocolVersion,
    AlertDescription::HandshakeFailure,
    AlertDescription::DecryptError,
    AlertDescription::NoApplicationProtocol,
    AlertDescription::InternalError,
];

fn explain_alert(alert: AlertDescription) -> String {
    use AlertDescription as A;
    let text = match alert {
        A::CertificateExpired => {
            "the far side refused our certificate as expired or not yet valid: issue another with `comity pki issue`, and check the clocks on both sides"
        }
        A::UnknownCA => {
            "the far side refused our certificate, since no root that it holds for our trust domain vouches for it: check that our root stands in its roster, and that this certificate was issued by it"
        }
        A::CertificateRequired => {
            "the far side asks for a certificate and got none: name one made by `comity pki issue` in the configuration or context"
        }
        A::BadCertificate | A::CertificateUnknown => {
            "the far side refused our certificate for its form: it needs exactly one URI, a SPIFFE id; issue another with `comity pki issue`"
        }
        A::UnsupportedCertificate => {
            "the far side refused our certificate for its purpose: a person's certificate cannot serve; issue one for a node with `comity pki issue`"
        }
        A::CertificateRevoked => {
            "the far side refused our certificate as revoked: ask the administrator who issued it for another"
        }
        A::AccessDenied => {
            "the far side knows us and does not admit us there: nodes use the peer port, and people the operator port of their own member's node; check address, role and member"
        }
        A::ProtocolVersion => {
            "the two sides share no TLS version: comity speaks TLS 1.3 only; bring the other side up to date"
        }
        A::HandshakeFailure => {
            "the two sides share no way to encrypt: comity speaks TLS 1.3 only; check what stands between the two"
        }
        A::NoApplicationProtocol => "the far side does not speak h2: check that the address is that of a comity node",
        A::DecryptError => {
            "the far side could not verify our handshake: check that certificate and key belong together"
        }
        other => {
            return format!("the far side ended the handshake with alert {other:?}: look into its log for the reason");
        }
    };
    text.to_owned()
}

fn explain_rustls(error: &rustls::Error) -> String {
    use rustls::Error as E;
    match error {
        E::AlertReceived(alert) => explain_alert(*alert),
        E::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion) => {
            "the far side does not speak TLS: check the address and the port, and that no proxy stands between"
                .to_owned()
        }
        E::InvalidMessage(_) | E::InappropriateMessage { .. } | E::InappropriateHandshakeMessage { .. } => {
            format!("what the far side sent is not a TLS handshake ({error}): check the address and the port")
        }
        E::NoCertificatesPresented => {
            "the far side showed no certificate: it needs one made by `comity pki issue`".to_owned()
        }
        E::PeerIncompatible(_) => {
            format!(
                "the far side's TLS does not fit ({error}): comity speaks TLS 1.3 only; bring the other side up to date"
            )
        }
        E::NoApplicationProtocol => explain_alert(AlertDescription::NoApplicationProtocol),
        E::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            format!("the far side's certificate was refused: {error}; it must be issued again, or check this clock")
        }
        E::InvalidCertificate(_) => {
            format!("the far side's certificate was refused: {error}; check the roster and who issued it")
        }
        other => format!("TLS failed: {other}; look into the far side's log for the reason"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::OtherError;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("transport error")]
    struct Transport(#[source] io::Error);

    #[test]
    fn finds_a_refusal_under_its_wrappings() {
        let refusal = RefusedCertificate::TwoUris { count: 2 };
        let tls = rustls::Error::from(CertificateError::Other(OtherError(Arc::new(refusal.clone()))));
        let error = Transport(io::Error::other(io::Error::new(io::ErrorKind::InvalidData, tls)));
        assert_eq!(refused_certificate(&error), Some(&refusal));
        assert!(explain_tls_error(&error).unwrap().contains("2 URIs"));

        let error = Transport(io::Error::other(refusal.clone()));
        assert_eq!(refused_certificate(&error), Some(&refusal));
    }

    #[test]
    fn says_what_an_alert_means() {
        for (alert, part) in [
            (AlertDescription::CertificateExpired, "expired"),
            (AlertDescription::UnknownCA, "roster"),
            (AlertDescription::CertificateRequired, "got none"),
            (AlertDescription::BadCertificate, "one URI"),
            (AlertDescription::AccessDenied, "operator port"),
            (AlertDescription::ProtocolVersion, "TLS 1.3 only"),
            (AlertDescription::HandshakeFailure, "TLS 1.3 only"),
        ] {
            let error = Transport(io::Error::new(io::ErrorKind::InvalidData, rustls::Error::AlertReceived(alert)));
            let text = explain_tls_error(&error).unwrap();
            assert!(text.contains(part), "{alert:?}: {text}");
            // As h2 leaves it: text alone.
            let error = Transport(io::Error::other(rustls::Error::AlertReceived(alert).to_string()));
            assert_eq!(explain_tls_error(&error).unwrap(), text);
        }
    }

    #[test]
    fn says_when_it_is_not_tls() {
        let error = io::Error::other(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType));
        assert!(explain_tls_error(&error).unwrap().contains("does not speak TLS"));
        let closed = io::Error::from(io::ErrorKind::UnexpectedEof);
        let error = io::Error::from(ConnectError::Tls { address: "127.0.0.1:1".to_owned(), source: closed });
        assert!(explain_tls_error(&error).unwrap().contains("closed the connection"));
        assert_eq!(explain_tls_error(&io::Error::from(io::ErrorKind::ConnectionRefused)), None);
        assert_eq!(explain_tls_error(&io::Error::other("received fatal alert: Nonsense")), None);
    }
}

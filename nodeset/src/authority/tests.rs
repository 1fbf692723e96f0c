use std::os::unix::fs::PermissionsExt;
use std::{fs, thread};

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{CertificateError, Error, RootCertStore};

use super::*;
use crate::key::ProcessKey;

fn verifier(authority: &Authority) -> Arc<dyn ClientCertVerifier> {
    let mut roots = RootCertStore::empty();
    roots
        .add(authority.certificate().to_vec().into())
        .expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    builder.build().expect("roots")
}

fn verify(by: &Authority, leaf: &[u8], at: SystemTime) -> Result<(), Error> {
    let at = UnixTime::since_unix_epoch(at.duration_since(UNIX_EPOCH).expect("after 1970"));
    let leaf = CertificateDer::from(leaf.to_vec());
    verifier(by).verify_client_cert(&leaf, &[], at).map(drop)
}

#[test]
fn it_vouches_for_keys_for_a_day() {
    let (ours, other) = (
        Authority::ephemeral().expect("made"),
        Authority::ephemeral().expect("made"),
    );
    assert_ne!(ours.cluster(), other.cluster());
    let (key, now) = (ProcessKey::generate().expect("a key"), SystemTime::now());
    let chain = ours.issue(&key.public(), "Zoë", now, CERTIFICATE_LIFE).expect("issued");
    let leaf = &chain[0];
    assert_eq!(verify(&ours, leaf, now), Ok(()));
    assert_eq!(
        verify(&ours, leaf, now - Duration::from_secs(240)),
        Ok(()),
        "clocks differ"
    );
    assert!(verify(&ours, leaf, now - Duration::from_secs(360)).is_err());
    assert_eq!(
        verify(&ours, leaf, now + CERTIFICATE_LIFE - Duration::from_secs(2)),
        Ok(())
    );
    let late = verify(&ours, leaf, now + CERTIFICATE_LIFE + Duration::from_secs(2));
    let expired = |error: &Error| {
        matches!(
            error,
            Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. })
        )
    };
    assert!(late.as_ref().is_err_and(expired), "{late:?}");
    assert!(verify(&other, leaf, now).is_err(), "another authority");
    let registry = ours.issue_for_registry(&key.public(), now).expect("issued");
    assert!(verify(&ours, &registry, now).is_err(), "the registry is no member");

    let text = String::from_utf8_lossy(leaf);
    assert!(text.contains(&format!("nodeset://{}/{}", ours.cluster(), key.node())));
    assert!(text.contains("Zoë"));
    for bad in ["", "two words", "a\u{1b}[2J", &"x".repeat(33)] {
        assert!(matches!(
            ours.issue(&key.public(), bad, now, CERTIFICATE_LIFE),
            Err(IssueError::Name(_))
        ));
    }
}

#[test]
fn six_that_start_at_one_instant_have_one_authority() {
    let dir = std::env::temp_dir().join(format!("nodeset-authority-{}", std::process::id()));
    let all: Vec<_> = thread::scope(|scope| {
        let open = || Authority::open(&dir).expect("opened").fingerprint();
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(open)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect()
    });
    assert!(all.iter().all(|fingerprint| *fingerprint == all[0]), "{all:?}");
    let mode = |name: &str| fs::metadata(dir.join(name)).expect("there").permissions().mode() & 0o777;
    assert_eq!(
        (mode(""), mode("authority.key"), mode("authority.lock")),
        (0o700, 0o600, 0o600)
    );
    let again = Authority::open(&dir).expect("opened");
    assert_eq!((again.fingerprint().len(), again.fingerprint()), (64, all[0].clone()));

    fs::set_permissions(&dir, fs::Permissions::from_mode(0o750)).expect("set");
    let refused = Authority::open(&dir).expect_err("the group may look").to_string();
    assert!(refused.contains("chmod 700"), "{refused}");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).expect("set");
    fs::write(dir.join("authority.key"), b"nonsense").expect("written");
    let refused = Authority::open(&dir).expect_err("damaged").to_string();
    assert!(refused.contains("move it away"), "{refused}");
    fs::remove_dir_all(dir).expect("removed");
}

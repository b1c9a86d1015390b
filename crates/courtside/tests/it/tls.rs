//! S3 servers behind TLS: one that a private authority vouches for, and those that no client should trust.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use s3_fixture::FakeR2;
use time::{Duration, OffsetDateTime};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::sandbox::{RunOutput, Sandbox};

/// A certificate authority that is made for a test.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A server for `name` in front of another one on this machine. Its certificate was issued `age` ago, for two days.
    fn serve(&self, name: &str, age: Duration, behind: SocketAddr) -> SocketAddr {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = OffsetDateTime::now_utc() - age;
        params.not_after = params.not_before + Duration::days(2);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || forward(listener, TlsAcceptor::from(Arc::new(config)), behind));
        address
    }
}

/// Forwards what comes through TLS, until the test ends.
fn forward(listener: std::net::TcpListener, acceptor: TlsAcceptor, behind: SocketAddr) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener).unwrap();
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust the certificate closes the connection.
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut server = TcpStream::connect(behind).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
            });
        }
    });
}

/// A machine with an S3 server and a private authority.
struct Setup {
    sandbox: Sandbox,
    server: FakeR2,
    authority: Authority,
    trusted: PathBuf,
}

impl Setup {
    fn new() -> Self {
        let (sandbox, authority) = (Sandbox::new(), Authority::new());
        sandbox.write("authority.pem", authority.0.pem());
        let trusted = sandbox.path("authority.pem");
        Self { sandbox, server: FakeR2::start(), authority, trusted }
    }

    fn behind(&self) -> SocketAddr {
        self.server.connection().endpoint.trim_start_matches("http://").parse().unwrap()
    }

    /// Runs `courtside status` with the bucket at this address. `trusts` is whether the authority is trusted.
    fn status(&self, endpoint: &str, trusts: bool) -> RunOutput {
        let connection = self.server.connection();
        let mut command = self.sandbox.command(&["status"]);
        command.env("R2_ENDPOINT_URL", endpoint).env("R2_BUCKET_NAME", &connection.bucket);
        command.env("R2_ACCESS_KEY_ID", &connection.access_key_id);
        command.env("R2_SECRET_ACCESS_KEY", &connection.secret_access_key);
        if trusts {
            command.env("SSL_CERT_FILE", &self.trusted);
        }
        RunOutput::new(command.output().unwrap())
    }
}

#[test]
fn a_server_of_a_private_authority_is_used_once_the_authority_is_trusted() {
    let setup = Setup::new();
    let address = setup.authority.serve("localhost", Duration::hours(1), setup.behind());
    let endpoint = format!("https://localhost:{}", address.port());
    setup.status(&endpoint, true).expect(0, &[]);
    setup.status(&endpoint, false).expect(3, &["no secure connection", "R2_ENDPOINT_URL", "UnknownIssuer"]);
}

#[test]
fn a_certificate_of_another_host_or_another_time_is_refused() {
    let setup = Setup::new();
    for (name, age, word) in [
        ("bucket.example", Duration::hours(1), "bucket.example"),
        ("localhost", Duration::days(30), "expired"),
        ("localhost", Duration::days(-30), "not valid yet"),
    ] {
        let address = setup.authority.serve(name, age, setup.behind());
        let endpoint = format!("https://localhost:{}", address.port());
        setup.status(&endpoint, true).expect(3, &["no secure connection", word]);
    }
}

#[test]
fn a_server_that_speaks_the_other_protocol_is_named() {
    let setup = Setup::new();
    let plain = setup.behind();
    setup.status(&format!("https://{plain}"), true).expect(3, &["no secure connection", "R2_ENDPOINT_URL"]);
    let secure = setup.authority.serve("localhost", Duration::hours(1), plain);
    setup.status(&format!("http://{secure}"), true).expect(3, &["R2_ENDPOINT_URL"]);
}

//! The TCP port: mutual TLS and nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use gdn_grpc::{Gate, GrpcConfig, ServeError, TlsConfig};
use gdn_proto::garden::PingRequest;
use gdn_proto::garden::garden_client::GardenClient;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::world::{Engine, soon};

struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
struct Papers {
    cert: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> Papers {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Papers { cert: params.signed_by(&key, &self.0).unwrap().pem(), key: key.serialize_pem() }
    }
}

fn tls(dir: &Path, server: &Papers, client_ca: &str) -> TlsConfig {
    let file = |name: &str, contents: &str| -> PathBuf {
        fs::write(dir.join(name), contents).unwrap();
        dir.join(name)
    };
    TlsConfig {
        addr: "127.0.0.1:0".parse().unwrap(),
        cert: file("cert.pem", &server.cert),
        key: file("key.pem", &server.key),
        client_ca: file("ca.pem", client_ca),
    }
}

struct Fixture {
    engine: Engine,
    server_ca: Authority,
    client_ca: Authority,
    _files: tempfile::TempDir,
}

async fn fixture() -> Fixture {
    let (server_ca, client_ca) = (Authority::new(), Authority::new());
    let files = tempfile::tempdir().unwrap();
    let config = tls(files.path(), &server_ca.issue(|_| {}), &client_ca.pem());
    let engine = Engine::start_with(|spec| spec, Some(config)).await;
    Fixture { engine, server_ca, client_ca, _files: files }
}

impl Fixture {
    async fn ping(&self, papers: Option<&Papers>) -> Result<(), String> {
        let mut tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(self.server_ca.pem()))
            .domain_name("localhost");
        if let Some(papers) = papers {
            tls = tls.identity(Identity::from_pem(&papers.cert, &papers.key));
        }
        let address = format!("https://{}", self.engine.tcp.unwrap());
        let endpoint = Endpoint::from_shared(address).unwrap().tls_config(tls).unwrap();
        let channel = soon(endpoint.connect()).await.map_err(|error| format!("{error:?}"))?;
        let answer = soon(GardenClient::new(channel).ping(PingRequest {})).await;
        answer.map(|_| ()).map_err(|status| format!("{status:?}"))
    }
}

#[tokio::test]
async fn the_right_certificate_is_served() {
    let fixture = fixture().await;
    fixture.ping(Some(&fixture.client_ca.issue(|_| {}))).await.unwrap();
}

#[tokio::test]
async fn no_other_client_is_served() {
    let fixture = fixture().await;
    let expired = fixture.client_ca.issue(|params| {
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let of_the_future =
        fixture.client_ca.issue(|params| params.not_before = rcgen::date_time_ymd(4000, 1, 1));
    // An authority of the same name and another key.
    let wrong_ca = Authority::new().issue(|_| {});
    // The server's own authority does not vouch for clients.
    let server_ca = fixture.server_ca.issue(|_| {});
    let bad = [
        ("no certificate", None),
        ("expired", Some(&expired)),
        ("not yet valid", Some(&of_the_future)),
        ("wrong authority", Some(&wrong_ca)),
        ("server's authority", Some(&server_ca)),
    ];
    for (what, papers) in bad {
        assert!(fixture.ping(papers).await.is_err(), "{what}");
    }
    // And the port still serves who may.
    fixture.ping(Some(&fixture.client_ca.issue(|_| {}))).await.unwrap();
}

#[tokio::test]
async fn plaintext_is_not_served() {
    let fixture = fixture().await;
    let address = format!("http://{}", fixture.engine.tcp.unwrap());
    let answer = match soon(Endpoint::from_shared(address).unwrap().connect()).await {
        Ok(channel) => {
            soon(GardenClient::new(channel).ping(PingRequest {})).await.map(|_| ()).map_err(|_| ())
        }
        Err(_) => Err(()),
    };
    assert_eq!(answer, Err(()));
}

#[tokio::test]
async fn files_that_are_missing_or_wrong_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let good = tls(dir.path(), &authority.issue(|_| {}), &authority.pem());
    let open = |tcp: TlsConfig| async { Gate::open(GrpcConfig { unix: None, tcp: Some(tcp) }).await };
    let missing = dir.path().join("missing.pem");
    let empty = dir.path().join("empty.pem");
    fs::write(&empty, "").unwrap();
    for bad in [&missing, &empty] {
        for config in [
            TlsConfig { cert: bad.clone(), ..good.clone() },
            TlsConfig { key: bad.clone(), ..good.clone() },
            TlsConfig { client_ca: bad.clone(), ..good.clone() },
        ] {
            let error = open(config).await.unwrap_err();
            assert!(matches!(&error, ServeError::File { path, .. } if path == bad), "{error:?}");
        }
    }
    // A key of another certificate.
    let other = dir.path().join("other.pem");
    fs::write(&other, authority.issue(|_| {}).key).unwrap();
    let error = open(TlsConfig { key: other, ..good.clone() }).await.unwrap_err();
    assert!(matches!(error, ServeError::Tls { .. }), "{error:?}");
    assert!(open(good).await.unwrap().tcp_addr().is_some());
}

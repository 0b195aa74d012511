//! Who may come in by the socket in the file system, and what is told about the API there.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use gdn_grpc::{Gate, GrpcConfig, ServeError, UnixListenerSpec};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{FileDescriptorResponse, ServerReflectionRequest};

use crate::world::{Engine, PATIENCE, soon};

/// `nobody` of every distribution.
const NOBODY: u32 = 65534;

/// Connects as a user and begins to speak HTTP/2; true when the server answers, false when it hangs up.
///
/// The user id is that of a thread, which is what the kernel hands to the other side.
fn is_let_in(socket: &Path, uid: u32) -> bool {
    let socket = socket.to_owned();
    let visit = std::thread::spawn(move || {
        let uid = rustix::process::Uid::from_raw(uid);
        rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
        let mut stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // Preface and an empty SETTINGS frame; the server may have hung up already.
        let _ = stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
        matches!(stream.read(&mut [0; 9]), Ok(1..))
    });
    visit.join().unwrap()
}

async fn open_to(allowed_uids: Vec<u32>) -> Engine {
    let open = |spec| UnixListenerSpec { mode: 0o666, allowed_uids, ..spec };
    let engine = Engine::start_with(open, None).await;
    std::fs::set_permissions(engine.dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    engine
}

#[tokio::test(flavor = "multi_thread")]
async fn only_root_and_the_listed_users_are_let_in_whatever_the_mode() {
    let engine = open_to(vec![]).await;
    assert!(is_let_in(&engine.socket(), 0));
    assert!(!is_let_in(&engine.socket(), NOBODY));
    let engine = open_to(vec![NOBODY]).await;
    assert!(is_let_in(&engine.socket(), NOBODY));
    assert!(!is_let_in(&engine.socket(), 1));
}

#[tokio::test]
async fn a_gate_without_a_place_to_listen_does_not_open() {
    let error = Gate::open(GrpcConfig::default()).await.unwrap_err();
    assert!(matches!(error, ServeError::NowhereToListen));
}

#[tokio::test]
async fn the_socket_is_gone_after_a_stop_and_can_be_had_again() {
    let engine = Engine::start().await;
    let socket = engine.socket();
    assert!(matches!(
        Gate::open(GrpcConfig { unix: Some(UnixListenerSpec::new(&socket)), tcp: None }).await.unwrap_err(),
        ServeError::Socket(gdn_sockets::Error::InUse { .. })
    ));
    engine.shutdown.cancel();
    soon(engine.served).await.unwrap().unwrap();
    assert!(!socket.exists());
}

async fn describe(engine: &Engine) -> Result<MessageResponse, tonic::Status> {
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::FileContainingSymbol("garden.v1.Garden".into())),
    };
    let mut client = ServerReflectionClient::new(engine.channel().await);
    let mut answers = client.server_reflection_info(tokio_stream::iter([request])).await?.into_inner();
    Ok(answers.message().await?.unwrap().message_response.unwrap())
}

#[tokio::test]
async fn the_api_describes_itself_only_when_asked_to() {
    let engine = Engine::start_with(|spec| UnixListenerSpec { reflection: true, ..spec }, None).await;
    let MessageResponse::FileDescriptorResponse(FileDescriptorResponse { file_descriptor_proto }) =
        describe(&engine).await.unwrap()
    else {
        panic!("no descriptor");
    };
    assert!(!file_descriptor_proto.is_empty());
    let silent = Engine::start().await;
    assert_eq!(describe(&silent).await.unwrap_err().code(), tonic::Code::Unimplemented);
}

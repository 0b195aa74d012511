//! StreamIn and StreamOut.

use gdn_proto::garden::stream_in_request::Message;
use gdn_proto::{garden, status};
use gdn_types::ErrorKind;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::host::TAR_END;
use crate::world::{Engine, soon};

async fn engine() -> Engine {
    let engine = Engine::start().await;
    engine.container("a").await;
    engine
}

fn start(path: &str) -> garden::StreamInRequest {
    let start = garden::StreamInStart { handle: "a".into(), path: path.into(), user: String::new() };
    garden::StreamInRequest { message: Some(Message::Start(start)) }
}

fn chunk(bytes: &[u8]) -> garden::StreamInRequest {
    garden::StreamInRequest { message: Some(Message::Chunk(bytes.to_vec().into())) }
}

fn tar() -> Vec<u8> {
    let mut tar: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 249) as u8).collect();
    tar.extend_from_slice(TAR_END);
    tar
}

#[tokio::test]
async fn a_tar_goes_in_and_comes_out_whole() {
    let engine = engine().await;
    let mut client = engine.client().await;
    let path = engine.dir.path().join("tar").display().to_string();
    let requests: Vec<_> = std::iter::once(start(&path)).chain(tar().chunks(300_000).map(chunk)).collect();
    soon(client.stream_in(tokio_stream::iter(requests))).await.unwrap();
    assert!(std::fs::read(&path).unwrap() == tar());

    let request = garden::StreamOutRequest { handle: "a".into(), path, user: String::new() };
    let mut chunks = client.stream_out(request).await.unwrap().into_inner();
    let mut got = Vec::new();
    while let Some(response) = soon(chunks.message()).await.unwrap() {
        assert!(!response.chunk.is_empty());
        got.extend_from_slice(&response.chunk);
    }
    assert!(got == tar());
}

#[tokio::test]
async fn a_tar_that_breaks_off_is_an_error_after_its_bytes() {
    let engine = engine().await;
    let request =
        garden::StreamOutRequest { handle: "a".into(), path: "/broken".into(), user: String::new() };
    let mut chunks = engine.client().await.stream_out(request).await.unwrap().into_inner();
    assert_eq!(&soon(chunks.message()).await.unwrap().unwrap().chunk[..], b"half");
    let error = status::from_status(&soon(chunks.message()).await.unwrap_err());
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.message().contains("/broken"));
}

#[tokio::test]
async fn a_tar_that_is_cut_short_is_an_error() {
    let engine = engine().await;
    let path = engine.dir.path().join("tar");
    let requests = [start(&path.display().to_string()), chunk(b"only the beginning")];
    let refused = soon(engine.client().await.stream_in(tokio_stream::iter(requests))).await.unwrap_err();
    assert_eq!(status::from_status(&refused).kind(), ErrorKind::InvalidArgument);
    assert!(!path.exists());
}

#[tokio::test]
async fn the_components_error_wins_over_the_pipe_that_it_closes() {
    let engine = engine().await;
    let requests: Vec<_> =
        std::iter::once(start("/forbidden")).chain(tar().chunks(300_000).map(chunk)).collect();
    let refused = soon(engine.client().await.stream_in(tokio_stream::iter(requests))).await.unwrap_err();
    assert_eq!(status::from_status(&refused).kind(), ErrorKind::PermissionDenied);
}

#[tokio::test]
async fn a_client_that_goes_away_has_not_sent_a_tar() {
    let engine = engine().await;
    let path = engine.dir.path().join("tar");
    let (say, requests) = mpsc::channel(4);
    say.send(start(&path.display().to_string())).await.unwrap();
    say.send(chunk(b"half of it")).await.unwrap();
    let mut client = engine.client().await;
    let call = tokio::spawn(async move { client.stream_in(ReceiverStream::new(requests)).await });
    // Both messages were taken: the call is under way.
    soon(say.reserve_many(4)).await.unwrap();
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    engine.client().await.ping(garden::PingRequest {}).await.unwrap();
    assert!(!path.exists());
}

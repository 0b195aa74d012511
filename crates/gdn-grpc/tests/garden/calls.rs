//! Calls that answer once, their errors, deadlines and cancelling.

use gdn_proto::{MAX_MESSAGE_BYTES, garden, status};
use gdn_testkit::{Action, Point, Site};
use gdn_types::ErrorKind;
use tonic::Code;

use crate::world::{Engine, eventually, soon};

fn create(handle: &str) -> garden::CreateRequest {
    garden::CreateRequest {
        spec: Some(garden::ContainerSpec { handle: handle.into(), ..Default::default() }),
    }
}

#[tokio::test]
async fn a_container_lives_from_create_to_destroy() {
    let engine = Engine::start().await;
    let mut client = engine.client().await;
    assert_eq!(client.ping(garden::PingRequest {}).await.unwrap().into_inner().api_version, 1);
    let mut request = create("a");
    let spec = request.spec.as_mut().unwrap();
    spec.properties.insert("k".into(), "v".into());
    assert_eq!(client.create(request).await.unwrap().into_inner().handle, "a");

    let list = garden::ListRequest { properties: [("k".into(), "v".into())].into() };
    assert_eq!(client.list(list).await.unwrap().into_inner().handles, ["a"]);
    let info =
        client.info(garden::InfoRequest { handle: "a".into() }).await.unwrap().into_inner().info.unwrap();
    assert_eq!((info.state(), info.properties["k"].as_str()), (garden::LifeState::Active, "v"));
    let handles = vec!["a".to_owned(), "nobody".to_owned()];
    let bulk = client.bulk_info(garden::BulkInfoRequest { handles }).await.unwrap().into_inner();
    assert!(matches!(bulk.entries[0].result, Some(garden::bulk_info_entry::Result::Info(_))));
    let Some(garden::bulk_info_entry::Result::Error(error)) = &bulk.entries[1].result else {
        panic!("{bulk:?}");
    };
    assert_eq!((error.kind.as_str(), error.handle.as_str()), ("container_not_found", "nobody"));

    client.destroy(garden::DestroyRequest { handle: "a".into() }).await.unwrap();
    assert!(client.list(garden::ListRequest::default()).await.unwrap().into_inner().handles.is_empty());
}

#[tokio::test]
async fn every_kind_of_error_reaches_the_client_with_its_subject() {
    let engine = Engine::start().await;
    engine.container("a").await;
    let mut client = engine.client().await;
    for kind in ErrorKind::ALL {
        engine.world.clock().arm(Site::Call("containerizer.limits", 1), Point::Before, Action::Fail(kind));
        let refused = client.limits(garden::LimitsRequest { handle: "a".into() }).await.unwrap_err();
        assert_eq!(status::from_status(&refused).kind(), kind);
        assert_eq!(status::detail(&refused).unwrap().handle, "a");
        assert_eq!(refused.code(), status::code(kind));
    }
}

#[tokio::test]
async fn a_value_that_cannot_be_meant_is_named() {
    let engine = Engine::start().await;
    let refused = engine.client().await.create(create("../x")).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("../x"), "{}", refused.message());
}

#[tokio::test]
async fn a_message_above_the_limit_is_refused_and_the_connection_lives_on() {
    let engine = Engine::start().await;
    let mut client = engine.client().await;
    let mut large = create("a");
    large.spec.as_mut().unwrap().env = vec![format!("A={}", "x".repeat(MAX_MESSAGE_BYTES))];
    let refused = client.create(large).await.unwrap_err();
    assert!(matches!(refused.code(), Code::OutOfRange | Code::ResourceExhausted), "{refused:?}");
    client.ping(garden::PingRequest {}).await.unwrap();
    assert!(engine.world.leftovers().is_empty());
}

#[tokio::test]
async fn a_create_whose_deadline_passes_leaves_nothing() {
    let engine = Engine::start().await;
    let mut client = engine.client().await;
    engine.world.clock().arm(Site::Call("volumizer.create", 1), Point::Before, Action::Block);
    let mut request = tonic::Request::new(create("a"));
    request.set_timeout(std::time::Duration::from_millis(200));
    let refused = soon(client.create(request)).await.unwrap_err();
    // The client's own clock may be the first.
    assert!(matches!(refused.code(), Code::DeadlineExceeded | Code::Cancelled), "{refused:?}");
    // On the same connection, and so behind the news that the client gave up, if it was the first.
    client.ping(garden::PingRequest {}).await.unwrap();
    engine.world.clock().release();
    eventually("nothing is left", || engine.world.leftovers().is_empty()).await;
    client.create(create("a")).await.unwrap();
}

#[tokio::test]
async fn a_create_whose_client_goes_away_leaves_nothing() {
    let engine = Engine::start().await;
    let mut client = engine.client().await;
    engine.world.clock().arm(Site::Call("volumizer.create", 1), Point::Before, Action::Block);
    let mut caller = client.clone();
    let call = tokio::spawn(async move { caller.create(create("a")).await });
    soon(engine.world.clock().blocked(1)).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    // On the same connection, and so behind the news that the first call was given up.
    client.ping(garden::PingRequest {}).await.unwrap();
    engine.world.clock().release();
    eventually("nothing is left", || engine.world.leftovers().is_empty()).await;
}

#[tokio::test]
async fn events_arrive_after_the_watch_said_that_it_began() {
    use garden::watch_events_response::Message;
    let engine = Engine::start().await;
    let mut client = engine.client().await;
    let mut events = client.watch_events(garden::WatchEventsRequest::default()).await.unwrap().into_inner();
    assert!(matches!(events.message().await.unwrap().unwrap().message, Some(Message::Started(_))));
    client.create(create("a")).await.unwrap();
    let Some(Message::Event(event)) = soon(events.message()).await.unwrap().unwrap().message else {
        panic!("no event");
    };
    assert_eq!(event.handle, "a");
    assert!(matches!(event.kind, Some(garden::event::Kind::Created(_))));

    engine.shutdown.cancel();
    let ended = soon(events.message()).await.unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable);
    soon(engine.served).await.unwrap().unwrap();
}

#[tokio::test]
async fn health_is_answered() {
    use tonic_health::pb::{
        HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
    };
    let engine = Engine::start().await;
    let mut health = HealthClient::new(engine.channel().await);
    for service in ["", "garden.v1.Garden"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        assert_eq!(health.check(request).await.unwrap().into_inner().status(), ServingStatus::Serving);
    }
}

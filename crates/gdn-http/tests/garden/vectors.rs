//! Calls that answer once.

use super::gate::Open;

/// A request as the usual client sends it.
fn request(method: &str, path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: api\r\nUser-Agent: Go-http-client/1.1\r\nConnection: close\r\n\
         Content-Length: {length}\r\nContent-Type: application/json\r\nAccept-Encoding: gzip\r\n\r\n{body}"
    )
}

fn response(status: &str, body: &str) -> String {
    let length = body.len() + 1;
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}\n"
    )
}

/// Method, path, body, status, body.
const VECTORS: [(&str, &str, &str, &str, &str); 24] = [
    ("GET", "/ping", "", "200 OK", "{}"),
    (
        "POST",
        "/containers",
        r#"{"handle":"h","image":{},"limits":{"bandwidth_limits":{},"cpu_limits":{},"disk_limits":{},"memory_limits":{},"pid_limits":{}},"properties":{"a":"1"}}"#,
        "200 OK",
        r#"{"Handle":"h"}"#,
    ),
    ("GET", "/containers?a=1", "", "200 OK", r#"{"Handles":["h"]}"#),
    ("GET", "/containers?a=2", "", "200 OK", r#"{"Handles":[]}"#),
    (
        "GET",
        "/containers/h/properties",
        "",
        "200 OK",
        r#"{"a":"1","garden.network.container-ip":"10.254.0.1","garden.state":"created"}"#,
    ),
    ("PUT", "/containers/h/properties/k", r#"{"value":"v"}"#, "200 OK", "{}"),
    ("GET", "/containers/h/properties/k", "", "200 OK", r#"{"value":"v"}"#),
    ("DELETE", "/containers/h/properties/k", "", "200 OK", "{}"),
    ("DELETE", "/containers/h/properties/k", "", "200 OK", "{}"),
    (
        "GET",
        "/containers/h/properties/k",
        "",
        "500 Internal Server Error",
        r#"{"Type":"","Message":"property does not exist: k","Handle":"","ProcessID":"","Binary":""}"#,
    ),
    ("PUT", "/containers/h/grace_time", "1000000000000", "200 OK", "{}"),
    ("GET", "/containers/h/limits/bandwidth", "", "200 OK", "{}"),
    ("GET", "/containers/h/limits/disk", "", "200 OK", "{}"),
    ("POST", "/containers/h/net/in", r#"{"handle":"h","container_port":80}"#, "200 OK", NET_IN),
    ("POST", "/containers/h/net/out", r#"{"protocol":1,"log":true}"#, "200 OK", "{}"),
    ("POST", "/containers/h/net/out/bulk", "[{},{}]", "200 OK", "{}"),
    ("PUT", "/containers/h/stop", r#"{"kill":true}"#, "200 OK", "{}"),
    ("GET", "/containers/bulk_info", "", "200 OK", "{}"),
    (
        "GET",
        "/containers/bulk_info?handles=x",
        "",
        "200 OK",
        r#"{"x":{"Info":{"State":"","Events":null,"HostIP":"","ContainerIP":"","ContainerIPv6":"","ExternalIP":"","ContainerPath":"","ProcessIDs":null,"Properties":null,"MappedPorts":null},"Err":{"Type":"ContainerNotFoundError","Message":"unknown handle: x","Handle":"x","ProcessID":"","Binary":""}}}"#,
    ),
    ("DELETE", "/containers/h", "", "200 OK", "{}"),
    (
        "DELETE",
        "/containers/h",
        "",
        "404 Not Found",
        r#"{"Type":"ContainerNotFoundError","Message":"unknown handle: h","Handle":"h","ProcessID":"","Binary":""}"#,
    ),
    (
        "GET",
        "/containers/h/processes/p",
        "",
        "404 Not Found",
        r#"{"Type":"ContainerNotFoundError","Message":"unknown handle: h","Handle":"h","ProcessID":"","Binary":""}"#,
    ),
    (
        "POST",
        "/containers",
        "{",
        "500 Internal Server Error",
        r#"{"Type":"","Message":"unexpected EOF","Handle":"","ProcessID":"","Binary":""}"#,
    ),
    (
        "GET",
        "/other",
        "",
        "404 Not Found",
        r#"{"Type":"","Message":"404 page not found","Handle":"","ProcessID":"","Binary":""}"#,
    ),
];

/// The first port of the in-memory world.
const NET_IN: &str = r#"{"host_port":61001,"container_port":80}"#;

#[tokio::test]
async fn one_container_too_many_is_refused_in_the_words_that_clients_know() {
    let open = Open::new().await;
    for (number, words) in ["", "", "", "", "", "max containers reached"].into_iter().enumerate() {
        let create = request("POST", "/containers", &format!(r#"{{"handle":"h{number}"}}"#));
        let got = open.exchange(&create).await;
        let told = got.contains(&format!(r#""Message":"{words}""#));
        assert_eq!(told, !words.is_empty(), "{got}");
    }
    open.close().await;
}

#[tokio::test]
async fn each_call_has_the_bytes_that_were_recorded() {
    let open = Open::new().await;
    for (method, path, body, status, answer) in VECTORS {
        let got = open.exchange(&request(method, path, body)).await;
        assert_eq!(got, response(status, answer), "{method} {path}");
    }
    assert!(open.world.leftovers().is_empty());
    open.close().await;
}

#[tokio::test]
async fn a_method_that_a_path_does_not_have_is_told_which_it_has() {
    let open = Open::new().await;
    let answer = open.exchange("HEAD /ping HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 405 Method Not Allowed\r\n") && answer.contains("\r\nAllow: GET\r\n")
    );
    open.close().await;
}

#[tokio::test]
async fn a_client_that_asks_for_leave_to_send_gets_it() {
    let open = Open::new().await;
    let mut connection = open.connect().await;
    let head = "POST /containers HTTP/1.1\r\nHost: api\r\nExpect: 100-continue\r\nContent-Length: 14\r\n\
                Connection: close\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut connection, head.as_bytes()).await.unwrap();
    assert_eq!(super::gate::until(&mut connection, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    tokio::io::AsyncWriteExt::write_all(&mut connection, b"{\"handle\":\"x\"}").await.unwrap();
    assert_eq!(super::gate::rest(&mut connection).await, response("200 OK", r#"{"Handle":"x"}"#));
    open.close().await;
}

//! Run, Attach and side streams.

use tokio::io::AsyncWriteExt;

use super::gate::{Open, rest, until};

const STREAM: &str = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";

async fn created() -> Open {
    let open = Open::new().await;
    let create = "POST /containers HTTP/1.1\r\nHost: api\r\nConnection: close\r\nContent-Length: 14\r\n\r\n\
                  {\"handle\":\"h\"}";
    assert!(open.exchange(create).await.starts_with("HTTP/1.1 200 OK\r\n"));
    open
}

fn run(spec: &str) -> String {
    let length = spec.len();
    format!(
        "POST /containers/h/processes HTTP/1.1\r\nHost: api\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{spec}"
    )
}

/// The number that a conversation was given, out of its first message.
fn number(told: &str) -> String {
    let (_, rest) = told.split_once("\"stream_id\":\"").expect("a first message tells the number");
    let number = rest.split('"').next().expect("a text ends").to_owned();
    // A decimal number of 128 bits at random: one in ten million has less than 32 digits.
    assert!(number.len() > 31 && number.bytes().all(|byte| byte.is_ascii_digit()), "{number}");
    number
}

fn side(number: &str, name: &str) -> String {
    format!("GET /containers/h/processes/p/attaches/{number}/{name} HTTP/1.1\r\nHost: api\r\n\r\n")
}

#[tokio::test]
async fn a_process_is_run_with_the_bytes_that_were_recorded() {
    let open = created().await;
    let told = open.exchange(&run(r#"{"id":"p","path":"/bin/echo","args":["hi"],"image":{}}"#)).await;
    let stream = number(&told);
    assert_eq!(
        told,
        format!(
            "HTTP/1.1 201 Created\r\n{STREAM}{{\"process_id\":\"p\",\"stream_id\":\"{stream}\"}}\n\
             {{\"process_id\":\"p\",\"exit_status\":0}}\n"
        )
    );
    // The output waits for a client that is late; then it is gone, and there never was any on the other stream.
    for (name, bytes) in [("stdout", "hi\n"), ("stdout", ""), ("stderr", "")] {
        assert_eq!(open.exchange(&side(&stream, name)).await, format!("HTTP/1.1 200 OK\r\n{STREAM}{bytes}"));
    }
    let again = open.exchange("GET /containers/h/processes/p HTTP/1.1\r\nHost: api\r\n\r\n").await;
    assert!(again.starts_with("HTTP/1.1 200 OK\r\n"), "{again}");
    let other = number(&again);
    let end = format!("\"stream_id\":\"{other}\"}}\n{{\"process_id\":\"p\",\"exit_status\":0}}\n");
    assert!(other != stream && again.ends_with(&end), "{again}");
    open.close().await;
}

#[tokio::test]
async fn side_streams_end_when_the_process_does() {
    let open = created().await;
    let mut messages = open.connect().await;
    messages.write_all(run(r#"{"id":"p","path":"/bin/sleep"}"#).as_bytes()).await.unwrap();
    let stream = number(&until(&mut messages, "\"}\n").await);
    let (mut stdout, mut stderr) = (open.connect().await, open.connect().await);
    for (connection, name) in [(&mut stdout, "stdout"), (&mut stderr, "stderr")] {
        connection.write_all(side(&stream, name).as_bytes()).await.unwrap();
        assert_eq!(until(connection, "\r\n\r\n").await, format!("HTTP/1.1 200 OK\r\n{STREAM}"));
    }
    messages
        .write_all(b"{\"process_id\":\"p\",\"source\":0}\n{\"process_id\":\"p\",\"signal\":0}\n")
        .await
        .unwrap();
    assert_eq!(rest(&mut messages).await, "{\"process_id\":\"p\",\"exit_status\":143}\n");
    assert_eq!((rest(&mut stdout).await, rest(&mut stderr).await), (String::new(), String::new()));
    open.close().await;
}

#[tokio::test]
async fn a_gate_that_closes_ends_conversations_by_an_end_of_file() {
    let open = created().await;
    let mut messages = open.connect().await;
    messages.write_all(run(r#"{"id":"p","path":"/bin/sleep"}"#).as_bytes()).await.unwrap();
    let stream = number(&until(&mut messages, "\"}\n").await);
    let mut stdout = open.connect().await;
    stdout.write_all(side(&stream, "stdout").as_bytes()).await.unwrap();
    until(&mut stdout, "\r\n\r\n").await;
    // Half a message is on its way.
    messages.write_all(b"{\"process_id\":\"p\",\"sou").await.unwrap();
    open.stop.cancel();
    assert_eq!((rest(&mut messages).await, rest(&mut stdout).await), (String::new(), String::new()));
    drop((messages, stdout));
    open.close().await;
}

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

/// A container that has every limit, and what is told of it. `AGE` and `PATH` stand for what differs each time.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_of_limits_figures_and_capacity_has_the_bytes_that_were_recorded() {
    let open = Open::new().await;
    let create = r#"{"handle":"l","limits":{"bandwidth_limits":{"rate":1,"burst":2},"cpu_limits":{"limit_in_shares":3,"weight":4},"disk_limits":{"inode_soft":1,"inode_hard":5,"byte_hard":6,"scope":1},"memory_limits":{"limit_in_bytes":7},"pid_limits":{"max":8}}}"#;
    let metrics = METRICS
        .replace("NETWORK", r#"{"RxBytes":0,"TxBytes":0}"#)
        .replace("PIDS", "1")
        .replace("BYTES", "4096");
    let none =
        METRICS.replace("NETWORK", "null").replace("PIDS", "0").replace("BYTES", "0").replace("AGE", "0");
    let unknown = r#"{"Type":"ContainerNotFoundError","Message":"unknown handle: x","Handle":"x","ProcessID":"","Binary":""}"#;
    let vectors = [
        ("POST", "/containers", create, r#"{"Handle":"l"}"#.to_owned()),
        (
            "GET",
            "/capacity",
            "",
            r#"{"memory_in_bytes":1000,"disk_in_bytes":1099511627776,"schedulable_disk_in_bytes":549755813888,"max_containers":5}"#.to_owned(),
        ),
        // As the reference: none of these two is ever told.
        ("GET", "/containers/l/limits/bandwidth", "", "{}".to_owned()),
        ("GET", "/containers/l/limits/disk", "", "{}".to_owned()),
        ("GET", "/containers/l/limits/cpu", "", r#"{"limit_in_shares":4}"#.to_owned()),
        ("GET", "/containers/l/limits/memory", "", r#"{"limit_in_bytes":7}"#.to_owned()),
        ("GET", "/containers/l/info", "", INFO.to_owned()),
        ("GET", "/containers/bulk_info?handles=l", "", format!(r#"{{"l":{{"Info":{INFO},"Err":null}}}}"#)),
        ("GET", "/containers/l/metrics", "", metrics.clone()),
        (
            "GET",
            "/containers/bulk_metrics?handles=l,x",
            "",
            format!(r#"{{"l":{{"Metrics":{metrics},"Err":null}},"x":{{"Metrics":{none},"Err":{unknown}}}}}"#),
        ),
        ("PUT", "/containers/l/files?destination=%2Fa&user=", "some bytes", "{}".to_owned()),
    ];
    for (method, path, body, answer) in vectors {
        let got = open.exchange(&request(method, path, body)).await;
        let (head, told) = got.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "),
            "{head}"
        );
        assert_eq!(
            replaced(&replaced(told, "\"Age\":", "AGE"), "\"ContainerPath\":", "PATH"),
            answer + "\n",
            "{method} {path}"
        );
    }
    let tar = open.exchange(&request("GET", "/containers/l/files?source=%2Fa&user=", "")).await;
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    assert!(tar.starts_with(head) && tar.ends_with("\r\n\r\na\r\nsome bytes\r\n0\r\n\r\n"), "{tar}");
    open.close().await;
}

/// The text with the first value behind this name replaced, if it is not 0.
fn replaced(text: &str, name: &str, by: &str) -> String {
    let Some(begin) = text.find(name).map(|at| at + name.len()) else { return text.to_owned() };
    let length = text[begin..].find([',', '}']).unwrap_or(0);
    format!("{}{by}{}", &text[..begin], &text[begin + length..])
}

const INFO: &str = r#"{"State":"active","Events":null,"HostIP":"10.254.0.0","ContainerIP":"10.254.0.1","ContainerIPv6":"","ExternalIP":"","ContainerPath":PATH,"ProcessIDs":null,"Properties":{"garden.network.container-ip":"10.254.0.1","garden.state":"created"},"MappedPorts":[]}"#;

const METRICS: &str = r#"{"MemoryStat":{"active_anon":0,"active_file":0,"cache":0,"hierarchical_memory_limit":0,"inactive_anon":0,"inactive_file":0,"mapped_file":0,"pgfault":0,"pgmajfault":0,"pgpgin":0,"pgpgout":0,"rss":0,"total_active_anon":0,"total_active_file":0,"total_cache":0,"total_inactive_anon":0,"total_inactive_file":0,"total_mapped_file":0,"total_pgfault":0,"total_pgmajfault":0,"total_pgpgin":0,"total_pgpgout":0,"total_rss":0,"total_unevictable":0,"unevictable":0,"swap":0,"hierarchical_memsw_limit":0,"total_swap":0,"TotalUsageTowardLimit":0,"anon":0,"file":0,"swapcached":0},"CPUStat":{"Usage":0,"User":0,"System":0},"DiskStat":{"TotalBytesUsed":BYTES,"TotalInodesUsed":0,"ExclusiveBytesUsed":0,"ExclusiveInodesUsed":0},"NetworkStat":NETWORK,"PidStat":{"Current":PIDS,"Max":0},"Age":AGE,"CPUEntitlement":0}"#;

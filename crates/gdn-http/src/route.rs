//! Which call a request is.

use percent_encoding::percent_decode_str;

/// The calls of the Garden API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Ping,
    Capacity,
    List,
    Create,
    Info,
    BulkInfo,
    BulkMetrics,
    Destroy,
    Stop,
    StreamIn,
    StreamOut,
    BandwidthLimits,
    CpuLimits,
    DiskLimits,
    MemoryLimits,
    NetIn,
    NetOut,
    BulkNetOut,
    Stdout,
    Stderr,
    Run,
    Attach,
    SetGraceTime,
    Properties,
    Property,
    SetProperty,
    RemoveProperty,
    Metrics,
}

impl Call {
    /// Its name in the log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Call::Ping => "Ping",
            Call::Capacity => "Capacity",
            Call::List => "List",
            Call::Create => "Create",
            Call::Info => "Info",
            Call::BulkInfo => "BulkInfo",
            Call::BulkMetrics => "BulkMetrics",
            Call::Destroy => "Destroy",
            Call::Stop => "Stop",
            Call::StreamIn => "StreamIn",
            Call::StreamOut => "StreamOut",
            Call::BandwidthLimits => "CurrentBandwidthLimits",
            Call::CpuLimits => "CurrentCPULimits",
            Call::DiskLimits => "CurrentDiskLimits",
            Call::MemoryLimits => "CurrentMemoryLimits",
            Call::NetIn => "NetIn",
            Call::NetOut => "NetOut",
            Call::BulkNetOut => "BulkNetOut",
            Call::Stdout => "Stdout",
            Call::Stderr => "Stderr",
            Call::Run => "Run",
            Call::Attach => "Attach",
            Call::SetGraceTime => "SetGraceTime",
            Call::Properties => "Properties",
            Call::Property => "Property",
            Call::SetProperty => "SetProperty",
            Call::RemoveProperty => "RemoveProperty",
            Call::Metrics => "Metrics",
        }
    }
}

/// All routes: a segment that begins with a colon stands for any one.
const ROUTES: [(&str, &str, Call); 28] = [
    ("GET", "ping", Call::Ping),
    ("GET", "capacity", Call::Capacity),
    ("GET", "containers", Call::List),
    ("POST", "containers", Call::Create),
    ("GET", "containers/bulk_info", Call::BulkInfo),
    ("GET", "containers/bulk_metrics", Call::BulkMetrics),
    ("DELETE", "containers/:handle", Call::Destroy),
    ("GET", "containers/:handle/info", Call::Info),
    ("PUT", "containers/:handle/stop", Call::Stop),
    ("PUT", "containers/:handle/files", Call::StreamIn),
    ("GET", "containers/:handle/files", Call::StreamOut),
    ("GET", "containers/:handle/limits/bandwidth", Call::BandwidthLimits),
    ("GET", "containers/:handle/limits/cpu", Call::CpuLimits),
    ("GET", "containers/:handle/limits/disk", Call::DiskLimits),
    ("GET", "containers/:handle/limits/memory", Call::MemoryLimits),
    ("POST", "containers/:handle/net/in", Call::NetIn),
    ("POST", "containers/:handle/net/out", Call::NetOut),
    ("POST", "containers/:handle/net/out/bulk", Call::BulkNetOut),
    ("GET", "containers/:handle/processes/:pid/attaches/:streamid/stdout", Call::Stdout),
    ("GET", "containers/:handle/processes/:pid/attaches/:streamid/stderr", Call::Stderr),
    ("POST", "containers/:handle/processes", Call::Run),
    ("GET", "containers/:handle/processes/:pid", Call::Attach),
    ("PUT", "containers/:handle/grace_time", Call::SetGraceTime),
    ("GET", "containers/:handle/properties", Call::Properties),
    ("GET", "containers/:handle/properties/:key", Call::Property),
    ("PUT", "containers/:handle/properties/:key", Call::SetProperty),
    ("DELETE", "containers/:handle/properties/:key", Call::RemoveProperty),
    ("GET", "containers/:handle/metrics", Call::Metrics),
];

/// A call, and what its path says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) call: Call,
    pub(crate) handle: String,
    pub(crate) process: String,
    pub(crate) stream: String,
    pub(crate) key: String,
}

/// A request that is no call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stray {
    /// There is nothing at this path.
    Path,
    /// There is, for these methods.
    Method(String),
}

/// The call that a request is.
pub(crate) fn route(method: &str, path: &str) -> Result<Route, Stray> {
    let path = path.strip_prefix('/').ok_or(Stray::Path)?;
    let segments: Vec<&str> = path.split('/').collect();
    let mut allowed = Vec::new();
    for (known, pattern, call) in ROUTES {
        if !fits(pattern, &segments) {
            continue;
        }
        if known == method {
            return filled(call, pattern, &segments);
        }
        allowed.push(known);
    }
    if allowed.is_empty() { Err(Stray::Path) } else { Err(Stray::Method(allowed.join(", "))) }
}

fn fits(pattern: &str, segments: &[&str]) -> bool {
    let mut patterns = pattern.split('/');
    let fit = segments.iter().all(|segment| {
        patterns.next().is_some_and(|pattern| match pattern.starts_with(':') {
            true => !segment.is_empty(),
            false => pattern == *segment,
        })
    });
    fit && patterns.next().is_none()
}

fn filled(call: Call, pattern: &str, segments: &[&str]) -> Result<Route, Stray> {
    let mut route = Route {
        call,
        handle: String::new(),
        process: String::new(),
        stream: String::new(),
        key: String::new(),
    };
    for (pattern, segment) in pattern.split('/').zip(segments) {
        let place = match pattern {
            ":handle" => &mut route.handle,
            ":pid" => &mut route.process,
            ":streamid" => &mut route.stream,
            ":key" => &mut route.key,
            _ => continue,
        };
        // In a path a plus is a plus.
        *place = percent_decode_str(segment).decode_utf8().map_err(|_| Stray::Path)?.into_owned();
    }
    Ok(route)
}

/// The parameters of a query, in order. There a plus is a space.
pub(crate) fn parameters(query: &str) -> impl Iterator<Item = (String, String)> + '_ {
    let decoded = |text: &str| {
        let text = text.replace('+', " ");
        percent_decode_str(&text).decode_utf8_lossy().into_owned()
    };
    query.split('&').filter(|pair| !pair.is_empty()).map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(key), decoded(value))
    })
}

/// The first value of a parameter; empty when there is none.
pub(crate) fn parameter(query: &str, name: &str) -> String {
    parameters(query).find(|(key, _)| key == name).map(|(_, value)| value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_leads_to_its_call() {
        for (method, pattern, call) in ROUTES {
            let path = format!("/{}", pattern.replace(':', "some-"));
            assert_eq!(route(method, &path).unwrap().call, call, "{method} {path}");
        }
        let names: std::collections::BTreeSet<_> = ROUTES.iter().map(|(_, _, call)| call.name()).collect();
        assert_eq!(names.len(), ROUTES.len());
    }

    #[test]
    fn what_a_path_names_is_decoded() {
        let route = route("GET", "/containers/h%201/processes/p:1/attaches/7/stdout").unwrap();
        assert_eq!((&*route.handle, &*route.process, &*route.stream), ("h 1", "p:1", "7"));
    }

    #[test]
    fn keys_of_properties_are_taken_as_they_are_meant() {
        let key = |segment: &str| route("GET", &format!("/containers/h/properties/{segment}")).unwrap().key;
        for (segment, expected) in [
            ("a:b", "a:b"),
            ("a%20b", "a b"),
            ("%C3%A9", "\u{e9}"),
            ("a+b", "a+b"),
            ("a%2Fb", "a/b"),
            ("a%3Fb", "a?b"),
        ] {
            assert_eq!(key(segment), expected);
        }
        assert_eq!(route("GET", "/containers/h/properties/a/b"), Err(Stray::Path));
        assert_eq!(route("GET", "/containers/h/properties/"), Err(Stray::Path));
        assert_eq!(route("GET", "/containers/h/properties/%ff"), Err(Stray::Path));
    }

    #[test]
    fn a_path_without_a_call_and_a_method_without_one_are_told_apart() {
        for path in
            ["/", "", "ping", "/ping/", "//ping", "/containers/", "/containers//info", "/nope", "/debug/vars"]
        {
            assert_eq!(route("GET", path), Err(Stray::Path), "{path:?}");
        }
        assert_eq!(route("HEAD", "/ping"), Err(Stray::Method("GET".to_owned())));
        assert_eq!(
            route("PATCH", "/containers/h/properties/k"),
            Err(Stray::Method("GET, PUT, DELETE".to_owned()))
        );
        assert_eq!(route("GET", "/containers/h"), Err(Stray::Method("DELETE".to_owned())));
    }

    #[test]
    fn parameters_are_decoded_and_the_first_of_a_name_counts() {
        let query = "user=a+b&destination=%2Ftmp%2Fx%26&user=c&flag&&garden.state=all";
        assert_eq!(parameter(query, "user"), "a b");
        assert_eq!(parameter(query, "destination"), "/tmp/x&");
        assert_eq!((parameter(query, "flag"), parameter(query, "none")), (String::new(), String::new()));
        assert_eq!(parameters(query).count(), 5);
    }
}

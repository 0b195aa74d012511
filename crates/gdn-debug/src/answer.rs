//! One request and its answer.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, ORIGIN};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Incoming};
use tracing::Level;

use crate::serve::DebugSources;
use crate::{metrics, vars};

/// The longest body of a request: the name of a level.
const MAX_BODY: usize = 64;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json; charset=utf-8";
/// The text format of Prometheus.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers one request. What is wrong with it is an answer, too.
pub(crate) async fn answer(
    request: Request<Incoming>,
    peer: SocketAddr,
    sources: &DebugSources,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (path, method) = (request.uri().path().to_owned(), request.method().clone());
    Ok(match (path.as_str(), method) {
        ("/metrics", Method::GET) => response(StatusCode::OK, EXPOSITION, metrics::text(sources).await),
        ("/debug/vars", Method::GET) => response(StatusCode::OK, JSON, vars::text(sources)),
        ("/log-level", Method::GET) => response(StatusCode::OK, TEXT, told(sources.log.level())),
        ("/log-level", Method::PUT) => set_level(request, peer, sources).await,
        ("/metrics" | "/debug/vars", _) => not_allowed("GET"),
        ("/log-level", _) => not_allowed("GET, PUT"),
        _ => refusal(StatusCode::NOT_FOUND, "there are /metrics, /debug/vars and /log-level"),
    })
}

async fn set_level<B>(request: Request<B>, peer: SocketAddr, sources: &DebugSources) -> Response<Full<Bytes>>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if !peer.ip().to_canonical().is_loopback() {
        return refusal(StatusCode::FORBIDDEN, "the level is changed from this host only");
    }
    // Browsers say so when a page asks; operators' tools do not.
    if request.headers().contains_key(ORIGIN) {
        return refusal(StatusCode::FORBIDDEN, "the level is not changed by a page of a browser");
    }
    let Ok(body) = Limited::new(request.into_body(), MAX_BODY).collect().await else {
        return refusal(StatusCode::BAD_REQUEST, "the body is the name of a level");
    };
    let body = body.to_bytes();
    let Some(level) = str::from_utf8(&body).ok().and_then(level) else {
        return refusal(StatusCode::BAD_REQUEST, "the body is none of error, warn, info, debug and trace");
    };
    // Before, too: what comes after may not be logged any more.
    tracing::warn!(%level, "the level of the log is being changed");
    sources.log.set_level(level);
    tracing::warn!(%level, "the level of the log was changed");
    response(StatusCode::OK, TEXT, told(level))
}

/// A level by its name, or as operators of Guardian write it: by its first letter or its number.
fn level(text: &str) -> Option<Level> {
    match text.trim().to_ascii_lowercase().as_str() {
        "trace" => Some(Level::TRACE),
        "debug" | "d" | "0" => Some(Level::DEBUG),
        "info" | "i" | "1" => Some(Level::INFO),
        "warn" => Some(Level::WARN),
        "error" | "e" | "2" | "fatal" | "f" | "3" => Some(Level::ERROR),
        _ => None,
    }
}

fn told(level: Level) -> String {
    format!("{}\n", level.as_str().to_ascii_lowercase())
}

fn not_allowed(methods: &'static str) -> Response<Full<Bytes>> {
    let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, methods);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}

fn refusal(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    response(status, TEXT, format!("{text}\n"))
}

fn response(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_named_as_we_and_as_operators_of_guardian_do() {
        for (texts, expected) in [
            (&["debug", "D", "0", "DEBUG\n"][..], Level::DEBUG),
            (&["info", "i", "1"], Level::INFO),
            (&["warn"], Level::WARN),
            (&["error", "E", "2", "fatal", "3"], Level::ERROR),
            (&["trace"], Level::TRACE),
        ] {
            for text in texts {
                assert_eq!(level(text), Some(expected), "{text}");
            }
        }
        for wrong in ["", "loud", "4", "debug info"] {
            assert_eq!(level(wrong), None, "{wrong}");
        }
    }
}

//! The engine's errors as gRPC statuses and back, by one total table.
//!
//! The kind travels in a [`garden::ErrorDetail`] inside the standard `grpc-status-details-bin` trailer, because several
//! kinds share one gRPC code.

use gdn_types::{Error, ErrorKind};
use prost::Message;
use tonic::{Code, Status};

use crate::garden;

/// The longest message put into a status, in bytes.
///
/// It travels twice, once in base64, and common clients refuse trailers above 8 KiB.
const MAX_MESSAGE: usize = 2048;

/// The type name of the detail in its `Any`.
const DETAIL_TYPE: &str = "type.googleapis.com/garden.v1.ErrorDetail";

/// Every kind with its gRPC code.
const CODES: [(ErrorKind, Code); 20] = [
    (ErrorKind::InvalidArgument, Code::InvalidArgument),
    (ErrorKind::ContainerNotFound, Code::NotFound),
    (ErrorKind::ProcessNotFound, Code::NotFound),
    (ErrorKind::PropertyNotFound, Code::NotFound),
    (ErrorKind::AlreadyExists, Code::AlreadyExists),
    (ErrorKind::ImageNotFound, Code::NotFound),
    (ErrorKind::ImageInvalid, Code::FailedPrecondition),
    (ErrorKind::ExecutableNotFound, Code::NotFound),
    (ErrorKind::UserNotFound, Code::NotFound),
    (ErrorKind::ResourceExhausted, Code::ResourceExhausted),
    (ErrorKind::PermissionDenied, Code::PermissionDenied),
    (ErrorKind::FailedPrecondition, Code::FailedPrecondition),
    (ErrorKind::Lost, Code::DataLoss),
    (ErrorKind::BeingDestroyed, Code::Aborted),
    (ErrorKind::Unavailable, Code::Unavailable),
    (ErrorKind::DeadlineExceeded, Code::DeadlineExceeded),
    (ErrorKind::Cancelled, Code::Cancelled),
    (ErrorKind::Unimplemented, Code::Unimplemented),
    (ErrorKind::Unrecoverable, Code::Internal),
    (ErrorKind::Internal, Code::Internal),
];

/// `google.rpc.Status`, the standard form of the details trailer.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// The gRPC code of a kind.
pub fn code(kind: ErrorKind) -> Code {
    CODES.iter().find(|(known, _)| *known == kind).map_or(Code::Internal, |(_, code)| *code)
}

/// The status of an error, with the container and the process the call was about (empty for none).
pub fn to_status(error: &Error, handle: &str, process_id: &str) -> Status {
    let detail = error_detail(error, handle, process_id);
    let code = code(error.kind());
    let message = detail.message.clone();
    let any = prost_types::Any { type_url: DETAIL_TYPE.to_owned(), value: detail.encode_to_vec() };
    let details = RpcStatus { code: code as i32, message: message.clone(), details: vec![any] };
    Status::with_details(code, message, details.encode_to_vec().into())
}

/// The error behind a status. One without a detail, made by a transport or a proxy, gets the kind nearest to its code.
pub fn from_status(status: &Status) -> Error {
    match detail(status) {
        Some(detail) => error_of_detail(detail),
        None => Error::new(kind_of_code(status.code()), status.message()),
    }
}

/// The detail of a status, if it has one.
pub fn detail(status: &Status) -> Option<garden::ErrorDetail> {
    let details = RpcStatus::decode(status.details()).ok()?.details;
    let any = details.into_iter().find(|any| any.type_url == DETAIL_TYPE)?;
    garden::ErrorDetail::decode(any.value.as_slice()).ok()
}

/// The detail of an error.
pub fn error_detail(error: &Error, handle: &str, process_id: &str) -> garden::ErrorDetail {
    garden::ErrorDetail {
        kind: error.kind().name().to_owned(),
        handle: handle.to_owned(),
        process_id: process_id.to_owned(),
        message: shortened(error.report()),
    }
}

/// The error of a detail; an unknown kind is `Internal`.
pub fn error_of_detail(detail: garden::ErrorDetail) -> Error {
    Error::new(ErrorKind::from_name(&detail.kind).unwrap_or(ErrorKind::Internal), detail.message)
}

fn kind_of_code(code: Code) -> ErrorKind {
    match code {
        Code::Cancelled => ErrorKind::Cancelled,
        Code::InvalidArgument | Code::OutOfRange => ErrorKind::InvalidArgument,
        Code::DeadlineExceeded => ErrorKind::DeadlineExceeded,
        Code::NotFound => ErrorKind::ContainerNotFound,
        Code::AlreadyExists => ErrorKind::AlreadyExists,
        Code::PermissionDenied | Code::Unauthenticated => ErrorKind::PermissionDenied,
        Code::ResourceExhausted => ErrorKind::ResourceExhausted,
        Code::FailedPrecondition => ErrorKind::FailedPrecondition,
        Code::Aborted => ErrorKind::BeingDestroyed,
        Code::Unimplemented => ErrorKind::Unimplemented,
        Code::Unavailable => ErrorKind::Unavailable,
        Code::DataLoss => ErrorKind::Lost,
        Code::Ok | Code::Unknown | Code::Internal => ErrorKind::Internal,
    }
}

fn shortened(mut message: String) -> String {
    if message.len() > MAX_MESSAGE {
        let end = (0..=MAX_MESSAGE - 3).rev().find(|end| message.is_char_boundary(*end)).unwrap_or(0);
        message.truncate(end);
        message.push_str("...");
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_exactly_one_code() {
        for kind in ErrorKind::ALL {
            assert_eq!(CODES.iter().filter(|(known, _)| *known == kind).count(), 1, "{kind:?}");
        }
        assert_eq!(CODES.len(), ErrorKind::ALL.len());
    }

    #[test]
    fn every_kind_survives_the_wire_with_its_message_and_subject() {
        for kind in ErrorKind::ALL {
            let status = to_status(&Error::new(kind, format!("about {kind:?}")), "h", "p");
            assert_eq!(status.code(), code(kind));
            let detail = detail(&status).unwrap();
            assert_eq!((detail.handle.as_str(), detail.process_id.as_str()), ("h", "p"));
            let error = from_status(&status);
            assert_eq!((error.kind(), error.message()), (kind, format!("about {kind:?}").as_str()));
        }
    }

    #[test]
    fn a_code_without_a_detail_leads_to_a_kind_of_that_code() {
        for number in 1..=16 {
            let (given, kind) = (Code::from(number), kind_of_code(Code::from(number)));
            // These three have no kind of their own.
            let expected = match given {
                Code::Unknown => Code::Internal,
                Code::OutOfRange => Code::InvalidArgument,
                Code::Unauthenticated => Code::PermissionDenied,
                other => other,
            };
            assert_eq!(code(kind), expected);
            assert_eq!(from_status(&Status::new(given, "m")).message(), "m");
        }
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let status = to_status(&Error::internal("é".repeat(5000)), "", "");
        assert!(status.message().len() <= MAX_MESSAGE && status.message().ends_with("..."));
    }

    #[test]
    fn details_of_others_are_not_taken_for_ours() {
        let foreign = Status::with_details(Code::NotFound, "m", vec![0xff, 0xff].into());
        assert!(detail(&foreign).is_none());
        assert_eq!(from_status(&foreign).kind(), ErrorKind::ContainerNotFound);
    }
}

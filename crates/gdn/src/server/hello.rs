//! The image that is always there: one static program that says hello.

use volumizer::{BuiltinImage, RunConfig};

/// Where the program is in the image. It tells by its name which of its parts it is to be.
const PATH: &str = "/hello";

/// The image `builtin:hello`.
pub(super) fn image() -> BuiltinImage {
    BuiltinImage {
        name: "hello".to_owned(),
        files: vec![(PATH.to_owned(), 0o755, gdn_launcher::PROGRAM.to_vec())],
        config: RunConfig { command: vec![PATH.to_owned()], ..RunConfig::default() },
    }
}

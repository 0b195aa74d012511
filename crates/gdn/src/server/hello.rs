//! The built-in image `hello`: one program that reports what a container sees.

use gdn_image_store::{BuiltinImage, RunConfig};

/// The image. Its program is the same static one that holds containers, under another name.
pub(super) fn image() -> BuiltinImage {
    let text = |path: &str, content: &str| (path.to_owned(), 0o644, content.as_bytes().to_vec());
    BuiltinImage {
        name: "hello".to_owned(),
        files: vec![
            ("bin/hello".to_owned(), 0o755, gdn_launcher::PROGRAM.to_vec()),
            text("etc/passwd", "root:x:0:0:root:/:/bin/hello\nnobody:x:65534:65534:nobody:/:/bin/hello\n"),
            text("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
        ],
        config: RunConfig { command: vec!["/bin/hello".to_owned()], ..RunConfig::default() },
    }
}

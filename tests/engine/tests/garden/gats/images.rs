//! What a container takes from its image.

use std::fs;

use engine_tests::images;
use serde_json::json;

use super::Bed;

/// Conformance: G173-174, G177
#[test]
fn variables_and_whiteouts_of_an_image_count() {
    let bed = Bed::start();
    let (below, above) = (bed.engine.scratch().join("below"), bed.engine.scratch().join("above"));
    images::directory(&below);
    fs::create_dir_all(below.join("opaque/dir")).unwrap();
    fs::write(below.join("opaque/hidden"), "").unwrap();
    fs::write(below.join("gone"), "").unwrap();
    fs::write(below.join("stays"), "").unwrap();
    fs::create_dir_all(above.join("opaque")).unwrap();
    for file in ["opaque/.wh..wh..opq", "opaque/seen", ".wh.gone"] {
        fs::write(above.join(file), "").unwrap();
    }
    let env = ["PATH=/some/where:/bin", "TEST=of the image"];
    let image = images::oci_of_layers(&[&below, &above], &env, &bed.engine.scratch().join("layered"));
    let handle = bed.create(json!({ "image": { "uri": image } }));
    assert_eq!(bed.said(&handle, "", "echo $PATH; echo $TEST"), "/some/where:/bin\nof the image\n");
    assert_eq!(bed.said(&handle, "alice", "echo $PATH"), "/some/where:/bin\n");
    assert_eq!(bed.said(&handle, "", "ls /opaque; ls -d /gone /stays 2>/dev/null; true"), "seen\n/stays\n");
    bed.finish();
}

//! Builds the keeper program as a small static executable, to be embedded.
//!
//! It has a profile of its own (small, aborting) whatever the profile of the crate that embeds it, so that debug and
//! release builds share one copy, below the target directory.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let manifest_dir =
        PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let crates = manifest_dir.parent().expect("the crate lies beside its siblings");
    for path in [
        "gdn-keeper/src",
        "gdn-keeper/build.rs",
        "gdn-keeper/Cargo.toml",
        "gdn-mounts/src",
        "gdn-namespaces/src",
    ] {
        println!("cargo:rerun-if-changed={}", crates.join(path).display());
    }
    println!("cargo:rerun-if-changed=build.rs");
    let target = std::env::var("TARGET").expect("cargo sets TARGET");
    let target_dir = keeper_target_dir();
    build(&crates.join("gdn-keeper/Cargo.toml"), &target, &target_dir);
    let program = target_dir.join(&target).join("release").join("gdn-keeper");
    println!("cargo:rustc-env=GDN_KEEPER_PROGRAM={}", program.display());
}

fn build(manifest: &Path, target: &str, target_dir: &Path) {
    let cargo = std::env::var_os("CARGO").expect("cargo sets CARGO");
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--release", "--bin", "gdn-keeper", "--target", target]);
    command.arg("--manifest-path").arg(manifest).arg("--target-dir").arg(target_dir);
    // Settings of the outer build (lints as errors, wrappers, flags) are not meant for this program.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if [
            "CARGO_ENCODED_RUSTFLAGS",
            "RUSTFLAGS",
            "RUSTC_WRAPPER",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTC",
            "RUSTDOC",
        ]
        .contains(&&*text)
            || text.starts_with("CARGO_PROFILE_")
            || text.starts_with("CARGO_FEATURE_")
            || text.starts_with("CARGO_CFG_")
        {
            command.env_remove(name);
        }
    }
    command.env("RUSTFLAGS", "-C target-feature=+crt-static -C relocation-model=static");
    for (name, value) in
        [("OPT_LEVEL", "s"), ("PANIC", "abort"), ("LTO", "fat"), ("CODEGEN_UNITS", "1"), ("STRIP", "symbols")]
    {
        command.env(format!("CARGO_PROFILE_RELEASE_{name}"), value);
    }
    let status = command.status().expect("cargo starts");
    assert!(status.success(), "the keeper program does not build");
}

/// `keeper` beside the profiles' directories: `OUT_DIR` is `<target>/<profile>/build/<package>/out`.
fn keeper_target_dir() -> PathBuf {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    out.ancestors().nth(4).expect("OUT_DIR lies four levels deep").join("keeper")
}

//! Builds the probe as a static executable, so that it runs in any root file system.
//!
//! Cargo gives a build script no path to another package's program, hence a build of its own beside the profiles'
//! directories; debug and release builds share it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Settings of the outer build that are not meant for this program.
const OUTER: [&str; 6] =
    ["CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTC", "RUSTDOC"];

fn main() {
    let manifest_dir =
        PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let probe = manifest_dir.parent().expect("the package lies beside its siblings").join("probe");
    println!("cargo:rerun-if-changed={}", probe.join("src").display());
    println!("cargo:rerun-if-changed={}", probe.join("Cargo.toml").display());
    println!("cargo:rerun-if-changed=build.rs");
    let target = std::env::var("TARGET").expect("cargo sets TARGET");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    // `<target>/<profile>/build/<package>/out`
    let directory = out.ancestors().nth(4).expect("OUT_DIR lies four levels deep").join("probe");
    build(&probe.join("Cargo.toml"), &target, &directory);
    println!("cargo:rustc-env=GDN_PROBE={}", directory.join(&target).join("release/gdn-probe").display());
}

fn build(manifest: &Path, target: &str, directory: &Path) {
    let mut command = Command::new(std::env::var_os("CARGO").expect("cargo sets CARGO"));
    command.args(["build", "--quiet", "--release", "--bin", "gdn-probe", "--target", target]);
    command.arg("--manifest-path").arg(manifest).arg("--target-dir").arg(directory);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let prefixes = ["CARGO_PROFILE_", "CARGO_FEATURE_", "CARGO_CFG_"];
        if OUTER.contains(&&*text) || prefixes.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command.env("RUSTFLAGS", "-C target-feature=+crt-static -C relocation-model=static");
    command.env("CARGO_PROFILE_RELEASE_PANIC", "abort").env("CARGO_PROFILE_RELEASE_STRIP", "symbols");
    let status = command.status().expect("cargo starts");
    assert!(status.success(), "the probe does not build");
}

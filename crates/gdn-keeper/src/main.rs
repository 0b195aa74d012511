//! The static program that holds containers; see the library.
fn main() {
    std::process::exit(gdn_keeper::program::main());
}

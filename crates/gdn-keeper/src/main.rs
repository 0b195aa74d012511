//! The static program that holds containers; see the library.

#[global_allocator]
static ALLOCATOR: gdn_keeper::program::Guard = gdn_keeper::program::Guard;

fn main() {
    std::process::exit(gdn_keeper::program::main());
}

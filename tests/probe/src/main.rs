//! What an attacker in a container runs: small attempts, each a subcommand that prints what came of it.
//!
//! It is built static by `tests/campaigns/build.rs` and lies in the image of every campaign. Each attempt only tells what the
//! kernel answered; what that means is for the campaign to say. One subcommand, `bare`, is a weak container runtime: the
//! positive control of the campaigns.
#![allow(unsafe_code, reason = "attempts are raw system calls")]

mod bare;
mod calls;
mod filter;
mod hoard;
mod identity;
mod keys;
mod onlooker;
mod reach;
mod system;
mod terminal;
mod wire;

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["bare", root, namespaces, user, command @ ..] if !command.is_empty() => {
            bare::run(root, namespaces, user, command)
        }
        ["sweep", door, first, last] => calls::sweep(door, first, last),
        ["call", door, number, arguments @ ..] => calls::call(door, number, arguments),
        ["push", door, request] => terminal::push(door, request),
        ["grab-and-push", door, request] => terminal::grab_and_push(door, request),
        ["hoard", kind, seconds] => hoard::hoard(kind, seconds),
        ["take", kind] => hoard::take(kind),
        ["read-memory", pid, address] => reach::read_memory(pid, address),
        ["open-by-handle", path, inode] => reach::open_by_handle(path, inode),
        ["connect-abstract", name] => reach::connect_abstract(name),
        ["identity"] => identity::show(),
        ["odd", command @ ..] => identity::odd(command),
        ["keys", "session"] => keys::session(),
        ["keys", "add", name] => keys::add(name),
        ["keys", "search", name] => keys::search(name),
        ["keys", "with", name, command @ ..] => keys::with(name, command),
        ["cat", file] => system::cat(file),
        ["slurp", file] => system::slurp(file),
        ["filter", pid] => filter::show(pid),
        ["overwrite"] => onlooker::overwrite(),
        ["spy"] => onlooker::spy(),
        ["send", link, frames @ ..] => wire::send(link, frames),
        ["sniff", link] => wire::sniff(link),
        ["reach", places @ ..] => wire::reach(places),
        ["beacon", to, port, word, time] => wire::beacon(to, port, word, time),
        _ => Err(format!("there is no attempt {words:?}")),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("probe: {error}");
            ExitCode::from(120)
        }
    }
}

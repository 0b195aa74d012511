//! A filter that allows 384 system calls, found by binary search.

/// How many calls a default profile allows.
const CALLS: u32 = 384;

/// Calls compared one by one at a leaf, so that they share the two return instructions.
const LEAF: u32 = 4;

pub(crate) fn filter() -> Vec<libc::sock_filter> {
    // The number of the call is the first word of seccomp_data.
    let mut program = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0)];
    program.extend(tree(0, CALLS));
    program
}

fn tree(from: u32, to: u32) -> Vec<libc::sock_filter> {
    if to - from <= LEAF {
        return leaf(from, to);
    }
    let middle = from + (to - from) / 2;
    let (below, above) = (tree(from, middle), tree(middle, to));
    let mut program = Vec::with_capacity(below.len() + above.len() + 2);
    // A conditional jump reaches 255 instructions; further ones take a jump of their own.
    match u8::try_from(below.len()) {
        Ok(distance) => program.push(jump(libc::BPF_JGE, middle, distance, 0)),
        Err(_) => {
            program.push(jump(libc::BPF_JGE, middle, 0, 1));
            program.push(statement(libc::BPF_JMP | libc::BPF_JA, below.len() as u32));
        }
    }
    program.extend(below);
    program.extend(above);
    program
}

fn leaf(from: u32, to: u32) -> Vec<libc::sock_filter> {
    let count = to - from;
    let compare = (0..count).map(|index| jump(libc::BPF_JEQ, from + index, (count - index) as u8, 0));
    let refuse = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    compare
        .chain([
            statement(libc::BPF_RET | libc::BPF_K, refuse),
            statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
        ])
        .collect()
}

fn statement(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

fn jump(condition: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code: (libc::BPF_JMP | condition | libc::BPF_K) as u16, jt, jf, k }
}

//! The installed filter, read from outside and tried on calls that need not be made.

use crate::probe;
use crate::targets::finish;

/// What makes a filter's answer "allowed" (`SECCOMP_RET_ALLOW`).
const ALLOW: u32 = 0x7fff_0000;

/// One instruction of the kernel's filter language (`struct sock_filter`).
#[derive(Clone, Copy, Debug)]
struct Instruction {
    code: u16,
    jump_true: usize,
    jump_false: usize,
    operand: u32,
}

/// The filters of a process: all are asked, the strictest answer counts.
#[derive(Clone, Debug)]
pub(super) struct Filters(Vec<Vec<Instruction>>);

impl Filters {
    /// Those of a process of the host's numbering.
    pub(super) fn of(pid: u32) -> Self {
        let mut command = std::process::Command::new(probe());
        command.args(["filter", &pid.to_string()]);
        let seen = finish(command);
        assert_eq!(seen.status, Some(0), "{seen}");
        let mut filters = Vec::new();
        for block in seen.stdout.split("\n\n").filter(|block| !block.trim().is_empty()) {
            filters.push(block.lines().map(parse).collect());
        }
        Filters(filters)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The errno a call would get; `None` when it is allowed.
    pub(super) fn errno(&self, audit: u32, number: u32, arguments: [u64; 6]) -> Option<u32> {
        let mut data = Vec::new();
        data.extend(number.to_le_bytes());
        data.extend(audit.to_le_bytes());
        data.extend(0_u64.to_le_bytes());
        data.extend(arguments.iter().flat_map(|argument| argument.to_le_bytes()));
        let answers = self.0.iter().map(|filter| interpret(filter, &data));
        // The lower the action as a signed number, the stricter.
        let answer = answers.min_by_key(|answer| (answer & 0xffff_0000).cast_signed())?;
        (answer != ALLOW).then_some(answer & 0xffff)
    }
}

fn parse(line: &str) -> Instruction {
    let mut numbers = line.split(' ').map(|word| word.parse::<u32>().unwrap());
    let mut next = || numbers.next().expect("the probe prints four numbers a line");
    let (code, jump_true, jump_false, operand) = (next(), next(), next(), next());
    Instruction { code: code as u16, jump_true: jump_true as usize, jump_false: jump_false as usize, operand }
}

/// The part of classic BPF that seccomp knows: loads from the call's data, an accumulator and an index, jumps and returns.
fn interpret(filter: &[Instruction], data: &[u8]) -> u32 {
    let (mut accumulator, mut index, mut at) = (0_u32, 0_u32, 0_usize);
    let mut scratch = [0_u32; 16];
    loop {
        let Instruction { code, jump_true, jump_false, operand } = filter[at];
        at += 1;
        let branch = |holds: bool| if holds { jump_true } else { jump_false };
        match code {
            // BPF_LD | BPF_W | BPF_ABS
            0x20 => {
                let offset = operand as usize;
                accumulator = u32::from_le_bytes(data[offset..offset + 4].try_into().expect("four bytes"));
            }
            // BPF_LD | BPF_IMM, BPF_LD | BPF_MEM, BPF_ST
            0x00 => accumulator = operand,
            0x60 => accumulator = scratch[operand as usize],
            0x02 => scratch[operand as usize] = accumulator,
            // BPF_ALU: AND, OR, ADD, RSH, LSH with a constant
            0x54 => accumulator &= operand,
            0x44 => accumulator |= operand,
            0x04 => accumulator = accumulator.wrapping_add(operand),
            0x74 => accumulator = accumulator.wrapping_shr(operand),
            0x64 => accumulator = accumulator.wrapping_shl(operand),
            // BPF_JMP: JA, JEQ, JGT, JGE, JSET with a constant
            0x05 => at += operand as usize,
            0x15 => at += branch(accumulator == operand),
            0x25 => at += branch(accumulator > operand),
            0x35 => at += branch(accumulator >= operand),
            0x45 => at += branch(accumulator & operand != 0),
            // The same with the index register; BPF_LDX | BPF_IMM, BPF_MISC: TAX, TXA
            0x1d => at += branch(accumulator == index),
            0x2d => at += branch(accumulator > index),
            0x3d => at += branch(accumulator >= index),
            0x4d => at += branch(accumulator & index != 0),
            0x01 => index = operand,
            0x07 => index = accumulator,
            0x87 => accumulator = index,
            // BPF_RET with a constant, with the accumulator
            0x06 => return operand,
            0x16 => return accumulator,
            other => panic!("an instruction of a filter that is not known: {other:#x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gdn_seccomp::{Action, Architecture, Profile};

    #[test]
    fn a_filter_says_what_the_profile_says() {
        let profile = Profile::default_profile();
        let program = profile.compile().unwrap();
        let instructions = program.instructions().iter().map(|instruction| Instruction {
            code: instruction.code,
            jump_true: instruction.jump_true.into(),
            jump_false: instruction.jump_false.into(),
            operand: instruction.operand,
        });
        let filters = Filters(vec![instructions.collect()]);
        for architecture in [Architecture::X86_64, Architecture::I386] {
            for number in 0..600 {
                for argument in [0, 38, 0x5412, 0x1000_0000] {
                    let arguments = [argument, argument, 0, 0, 0, 0];
                    let expected = match profile.action(architecture, number, &arguments) {
                        Action::Allow => None,
                        Action::Errno(errno) => Some(u32::from(errno)),
                        other => panic!("the default profile does not answer {other:?}"),
                    };
                    let seen = filters.errno(architecture.audit_number(), number, arguments);
                    assert_eq!(seen, expected, "{architecture:?} {number} {argument:#x}");
                }
            }
        }
    }
}

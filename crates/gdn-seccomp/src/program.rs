//! Programs of the kernel's filter machine (classic BPF).

/// One instruction, with the layout of `struct sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip when a comparison holds.
    pub jump_true: u8,
    /// Instructions to skip when it does not.
    pub jump_false: u8,
    /// Operand.
    pub operand: u32,
}

impl Instruction {
    /// One without jumps of its own.
    pub(crate) const fn plain(code: u16, operand: u32) -> Self {
        Instruction { code, jump_true: 0, jump_false: 0, operand }
    }

    /// A comparison.
    pub(crate) const fn compare(code: u16, operand: u32, jump_true: u8, jump_false: u8) -> Self {
        Instruction { code, jump_true, jump_false, operand }
    }
}

/// Operations of `linux/bpf_common.h`, on words and the accumulator.
pub(crate) mod operations {
    pub(crate) const LOAD: u16 = 0x20;
    pub(crate) const JUMP: u16 = 0x05;
    pub(crate) const JUMP_BITS: u16 = 0x45;
    pub(crate) const JUMP_EQUAL: u16 = 0x15;
    pub(crate) const JUMP_GREATER: u16 = 0x25;
    pub(crate) const JUMP_GREATER_EQUAL: u16 = 0x35;
    pub(crate) const AND: u16 = 0x54;
    pub(crate) const RETURN: u16 = 0x06;
    pub(crate) const COPY: u16 = 0x07;
}

/// Offsets in `struct seccomp_data`.
pub(crate) mod offsets {
    pub(crate) const NUMBER: u32 = 0;
    pub(crate) const ARCHITECTURE: u32 = 4;
    pub(crate) const ARGUMENTS: u32 = 16;
}

/// A program for the kernel: at most 4096 instructions, every path of which ends in a return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program(pub(crate) Vec<Instruction>);

impl Program {
    /// The instructions; a pointer to them and their number make a `struct sock_fprog`.
    pub fn instructions(&self) -> &[Instruction] {
        &self.0
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none; never so for a compiled profile.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The instructions as an array of `struct sock_filter`, 8 bytes each, in the machine's byte order.
    pub fn as_bytes(&self) -> Vec<u8> {
        let bytes = |instruction: &Instruction| {
            let [a, b] = instruction.code.to_ne_bytes();
            let [e, f, g, h] = instruction.operand.to_ne_bytes();
            [a, b, instruction.jump_true, instruction.jump_false, e, f, g, h]
        };
        self.0.iter().flat_map(bytes).collect()
    }
}

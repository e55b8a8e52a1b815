//! The classic BPF program that keeps all but DNS away from the packet socket. It lets a little
//! too much through (extension headers, tags in the packet); the parser decides.

use crate::sys::packet::Instruction;

const PROTOCOL: u32 = 0xffff_f000; // SKF_AD_OFF + SKF_AD_PROTOCOL: the EtherType.
const LOAD_WORD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const LOAD_HALF: u16 = 0x28; // BPF_LD | BPF_H | BPF_ABS
const LOAD_BYTE: u16 = 0x30; // BPF_LD | BPF_B | BPF_ABS
const LOAD_HALF_X: u16 = 0x48; // BPF_LD | BPF_H | BPF_IND
const LOAD_X_IHL: u16 = 0xb1; // BPF_LDX | BPF_B | BPF_MSH: 4 * (byte & 15)
const EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const ANY_BIT: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

/// Packets without link header: UDP and TCP with a port 53 or 5353.
/// The jump distances count the instructions in between.
pub const DNS: &[Instruction] = &[
    /*  0 */ (LOAD_WORD, 0, 0, PROTOCOL),
    /*  1 */ (EQUAL, 4, 0, 0x0800),
    /*  2 */ (EQUAL, 15, 0, 0x86dd),
    /*  3 */ (EQUAL, 27, 0, 0x8100),
    /*  4 */ (EQUAL, 26, 0, 0x88a8),
    /*  5 */ (RETURN, 0, 0, 0),
    // IPv4: UDP or TCP, the first fragment (only it has ports), then the ports.
    /*  6 */
    (LOAD_BYTE, 0, 0, 9),
    /*  7 */ (EQUAL, 1, 0, 17),
    /*  8 */ (EQUAL, 0, 23, 6),
    /*  9 */ (LOAD_HALF, 0, 0, 6),
    /* 10 */ (ANY_BIT, 21, 0, 0x1fff),
    /* 11 */ (LOAD_X_IHL, 0, 0, 0),
    /* 12 */ (LOAD_HALF_X, 0, 0, 0),
    /* 13 */ (EQUAL, 17, 0, 53),
    /* 14 */ (EQUAL, 16, 0, 5353),
    /* 15 */ (LOAD_HALF_X, 0, 0, 2),
    /* 16 */ (EQUAL, 14, 0, 53),
    /* 17 */ (EQUAL, 13, 14, 5353),
    // IPv6: ports right after the header, or an extension header (looked into later).
    /* 18 */
    (LOAD_BYTE, 0, 0, 6),
    /* 19 */ (EQUAL, 5, 0, 17),
    /* 20 */ (EQUAL, 4, 0, 6),
    /* 21 */ (EQUAL, 9, 0, 0),
    /* 22 */ (EQUAL, 8, 0, 43),
    /* 23 */ (EQUAL, 7, 0, 44),
    /* 24 */ (EQUAL, 6, 7, 60),
    /* 25 */ (LOAD_HALF, 0, 0, 40),
    /* 26 */ (EQUAL, 4, 0, 53),
    /* 27 */ (EQUAL, 3, 0, 5353),
    /* 28 */ (LOAD_HALF, 0, 0, 42),
    /* 29 */ (EQUAL, 1, 0, 53),
    /* 30 */ (EQUAL, 0, 1, 5353),
    /* 31 */ (RETURN, 0, 0, u32::MAX),
    /* 32 */ (RETURN, 0, 0, 0),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program as the kernel would.
    fn passes(ether_type: u16, packet: &[u8]) -> bool {
        let half = |at: usize| u32::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
        let (mut pc, mut a, mut x) = (0, 0u32, 0usize);
        loop {
            let (code, jt, jf, k) = DNS[pc];
            pc += 1;
            match code {
                LOAD_WORD => a = u32::from(ether_type),
                LOAD_HALF => a = half(k as usize),
                LOAD_BYTE => a = u32::from(packet[k as usize]),
                LOAD_HALF_X => a = half(x + k as usize),
                LOAD_X_IHL => x = 4 * usize::from(packet[k as usize] & 15),
                EQUAL => pc += usize::from(if a == k { jt } else { jf }),
                ANY_BIT => pc += usize::from(if a & k != 0 { jt } else { jf }),
                _ => return k != 0,
            }
        }
    }

    fn v4(protocol: u8, fragment: u16, from: u16, to: u16, options: usize) -> Vec<u8> {
        let mut packet = vec![0x45 + options as u8, 0, 0, 0, 0, 0];
        packet.extend(fragment.to_be_bytes());
        packet.extend([64, protocol, 0, 0]);
        packet.extend([0; 8]);
        packet.extend(vec![1; 4 * options]);
        packet.extend(from.to_be_bytes());
        packet.extend(to.to_be_bytes());
        packet
    }

    fn v6(next: u8, from: u16, to: u16) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, 0, next, 64];
        packet.extend([0; 32]);
        packet.extend(from.to_be_bytes());
        packet.extend(to.to_be_bytes());
        packet
    }

    #[test]
    fn lets_dns_through_and_nothing_else() {
        for (port, other) in [(53, 40000), (40000, 53), (5353, 5353), (5353, 9), (9, 5353)] {
            for protocol in [6, 17] {
                assert!(passes(0x0800, &v4(protocol, 0, port, other, 0)));
                assert!(passes(0x0800, &v4(protocol, 0x2000, port, other, 3)));
                assert!(passes(0x86dd, &v6(protocol, port, other)));
                assert!(!passes(0x0800, &v4(protocol, 7, port, other, 0)));
            }
            assert!(!passes(0x0800, &v4(1, 0, port, other, 0)));
            assert!(!passes(0x86dd, &v6(58, port, other)));
            assert!(!passes(0x0806, &v4(17, 0, port, other, 0)));
        }
        for protocol in [6, 17] {
            assert!(!passes(0x0800, &v4(protocol, 0, 443, 40000, 0)));
            assert!(!passes(0x86dd, &v6(protocol, 443, 40000)));
        }
        for extension in [0, 43, 44, 60] {
            assert!(passes(0x86dd, &v6(extension, 1, 1)));
        }
        for tagged in [0x8100, 0x88a8] {
            assert!(passes(tagged, &[0; 64]));
        }
    }
}

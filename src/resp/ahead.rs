//! A look ahead over requests that have come but are not scanned yet: where their first arguments are, which is the key
//! of most commands, and one other, which may name what is looked for under the key. A hint for the cache and nothing
//! else: the scanner decides what a request is, and what is odd here simply ends the look.

/// Calls `visit` with two arguments of each of the next requests in `buf`, at most `max`: those at the positions `wanted`, of
/// which the other is empty where there is none; requests without the one are passed over. Gives the bytes looked over.
#[inline]
pub fn arguments<'a>(
    buf: &'a [u8],
    max: usize,
    wanted: (usize, usize),
    mut visit: impl FnMut(&'a [u8], &'a [u8]),
) -> usize {
    let mut at = 0;
    for _ in 0..max {
        let Some(end) = request(buf, at, wanted, &mut visit) else { break };
        at = end;
    }
    at
}

/// The end of the request at `at`, if all of it has come.
#[inline]
fn request<'a>(
    buf: &'a [u8],
    at: usize,
    (one, other): (usize, usize),
    visit: &mut impl FnMut(&'a [u8], &'a [u8]),
) -> Option<usize> {
    let (count, mut at) = number(buf, at, b'*')?;
    let (mut first, mut second): (Option<&[u8]>, &[u8]) = (None, &[]);
    for position in 0..count {
        let (length, start) = number(buf, at, b'$')?;
        let argument = buf.get(start..start + length)?;
        if position == one {
            first = Some(argument);
        } else if position == other {
            second = argument;
        }
        at = start + length + 2;
    }
    if at > buf.len() {
        return None;
    }
    if let Some(first) = first {
        visit(first, second);
    }
    Some(at)
}

/// The number of one to four digits after `mark` at `at`, and the place behind its line.
#[inline]
fn number(buf: &[u8], at: usize, mark: u8) -> Option<(usize, usize)> {
    if *buf.get(at)? != mark {
        return None;
    }
    let mut value = 0;
    for (digits, &byte) in buf.get(at + 1..)?.iter().take(5).enumerate() {
        match byte {
            b'0'..=b'9' => value = value * 10 + usize::from(byte - b'0'),
            b'\r' if digits > 0 => return Some((value, at + digits + 3)),
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::arguments;

    fn look(buf: &[u8], max: usize) -> (Vec<&[u8]>, usize) {
        let mut found = Vec::new();
        let end = arguments(buf, max, (1, 2), |first, second| found.extend([first, second]));
        (found, end)
    }

    #[test]
    fn whole_requests_are_looked_over() {
        let buf = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*1\r\n$4\r\nPING\r\n*3\r\n$3\r\nSET\r\n$2\r\nbb\r\n$1\r\nv\r\n*2\r\n$3\r\nGET\r\n$1";
        assert_eq!(look(buf, 9), (vec![&b"a"[..], b"", b"bb", b"v"], 62));
        assert_eq!(look(buf, 1), (vec![&b"a"[..], b""], 20));
    }

    #[test]
    fn a_script_names_its_key_behind_its_text() {
        let buf = b"*4\r\n$4\r\nEVAL\r\n$8\r\nreturn 1\r\n$1\r\n1\r\n$3\r\nkey\r\n*3\r\n$4\r\nEVAL\r\n$1\r\nx\r\n$1\r\n0\r\n";
        let mut found = Vec::new();
        assert_eq!(arguments(buf, 9, (3, 2), |key, _| found.push(key)), buf.len());
        assert_eq!(found, [b"key"]);
    }

    #[test]
    fn odd_input_ends_the_look_wherever_it_is_cut() {
        let buf = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\nPING\r\n*2\r\n$99999\r\n*-1\r\n*2\r\n$x\r\n";
        for end in 0..buf.len() {
            assert!(look(&buf[..end], 16).1 <= 20);
        }
    }
}

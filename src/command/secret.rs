//! Which arguments are passwords: what MONITOR and the slow log show of a command must not hold them.

use crate::config::param;
use crate::resp::args::Args;

/// Stands in the place of a secret.
pub const REDACTED: &str = "(redacted)";

/// Whether the argument at `at` is a user name or password, or the value of a parameter that is secret.
pub fn is_secret(args: Args<'_>, at: usize) -> bool {
    let is = |at: usize, word: &[u8]| args.get(at).is_some_and(|arg| arg.eq_ignore_ascii_case(word));
    // `word` stands `back` arguments before, at `first` or later.
    let behind = |word: &[u8], back: usize, first: usize| at >= first + back && is(at - back, word);
    if is(0, b"auth") {
        return at > 0;
    }
    if is(0, b"hello") {
        return behind(b"auth", 1, 2) || behind(b"auth", 2, 2);
    }
    if is(0, b"migrate") {
        return behind(b"auth", 1, 6) || behind(b"auth2", 1, 6) || behind(b"auth2", 2, 6);
    }
    if is(0, b"config") && is(1, b"set") && at >= 3 && at % 2 == 1 {
        let name = String::from_utf8_lossy(&args[at - 1]);
        return param::find(&name).is_some_and(|param| param.secret);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::is_secret;
    use crate::resp::args::OwnedArgs;

    #[test]
    fn passwords_are_found_where_they_stand() {
        for (request, expected) in [
            ("AUTH pass", &[1][..]),
            ("auth user pass", &[1, 2]),
            ("hello 3 AUTH user pass SETNAME x", &[3, 4]),
            ("config set maxmemory 1gb RequirePass pass", &[5]),
            ("config get requirepass", &[]),
            ("migrate h 1 k 0 9 AUTH2 user pass KEYS a", &[7, 8]),
            ("migrate h 1 k 0 9 AUTH pass", &[7]),
            ("get auth", &[]),
        ] {
            let words: Vec<&str> = request.split(' ').collect();
            let owned = OwnedArgs::from_slices(&words);
            let found: Vec<usize> = (0..words.len()).filter(|&at| is_secret(owned.as_args(), at)).collect();
            assert_eq!(found, expected, "{request}");
        }
    }
}

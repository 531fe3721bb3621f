//! Glob patterns as KEYS, SCAN, PSUBSCRIBE and the ACL read them.
//!
//! `*` any run, `?` any byte, `[abc]` `[a-z]` `[^x]` one byte of a class, `\` takes the next byte as it is. Bytes, not
//! characters. As in Redis a class that is never closed runs to the end of the pattern, a range may be written
//! backwards, and an escaped byte inside a class is compared with its case. Unlike Redis, `**` matches the empty text,
//! as `*` does.
//!
//! Never recursive: only the last `*` is ever returned to, so a match takes at most `pattern.len() × text.len()` steps
//! and no memory.

/// Says whether `text` as a whole matches `pattern`; with `nocase`, ASCII letters match in either case.
pub fn matches(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    let (mut at, mut position) = (0, 0);
    // Where to go on when the present attempt fails: behind the last star, with one more byte given to it.
    let mut retry: Option<(usize, usize)> = None;
    while position < text.len() {
        if pattern.get(at) == Some(&b'*') {
            while pattern.get(at) == Some(&b'*') {
                at += 1;
            }
            if at == pattern.len() {
                return true;
            }
            retry = Some((at, position));
            continue;
        }
        if let Some(next) = match_one(pattern, at, text[position], nocase) {
            at = next;
            position += 1;
            continue;
        }
        let Some((star, from)) = retry else {
            return false;
        };
        retry = Some((star, from + 1));
        (at, position) = (star, from + 1);
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

/// Matches one byte against the pattern element at `at` (not a star); the position behind the element if it matches.
fn match_one(pattern: &[u8], at: usize, byte: u8, nocase: bool) -> Option<usize> {
    let (matched, next) = match *pattern.get(at)? {
        b'?' => (true, at + 1),
        b'[' => match_class(pattern, at + 1, byte, nocase),
        b'\\' if at + 1 < pattern.len() => (equal(pattern[at + 1], byte, nocase), at + 2),
        literal => (equal(literal, byte, nocase), at + 1),
    };
    matched.then_some(next)
}

/// Reads the class whose body starts at `at`: whether it has `byte`, and where the pattern goes on.
fn match_class(pattern: &[u8], mut at: usize, byte: u8, nocase: bool) -> (bool, usize) {
    let negated = pattern.get(at) == Some(&b'^');
    at += usize::from(negated);
    let mut found = false;
    loop {
        match pattern[at..] {
            [] => return (found != negated, at),
            [b'\\', escaped, ..] => {
                found |= escaped == byte;
                at += 2;
            }
            [b']', ..] => return (found != negated, at + 1),
            [first, b'-', last, ..] => {
                found |= in_range(first, last, byte, nocase);
                at += 3;
            }
            [literal, ..] => {
                found |= equal(literal, byte, nocase);
                at += 1;
            }
        }
    }
}

fn in_range(first: u8, last: u8, byte: u8, nocase: bool) -> bool {
    // The ends change places before their case is folded, as in Redis.
    let (low, high) = (first.min(last), first.max(last));
    if nocase {
        (low.to_ascii_lowercase()..=high.to_ascii_lowercase()).contains(&byte.to_ascii_lowercase())
    } else {
        (low..=high).contains(&byte)
    }
}

fn equal(left: u8, right: u8, nocase: bool) -> bool {
    left == right || (nocase && left.eq_ignore_ascii_case(&right))
}

#[cfg(test)]
mod tests {
    use super::{match_one, matches};
    use proptest::prelude::{any, prop_assert_eq, proptest};

    #[test]
    fn patterns_match_as_in_redis() {
        let cases: &[(&str, &str, bool)] = &[
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything", true),
            ("a*", "a", true),
            ("*a", "bba", true),
            ("*a", "bab", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            ("h\\*llo", "h*llo", true),
            ("h\\*llo", "hello", false),
            ("a\\", "a\\", true),
            ("[abc", "b", true),
            ("[^abc", "b", false),
            ("[", "x", false),
            ("[^", "x", true),
            ("[a-", "-", true),
            ("[a-]", "b", false),
            ("[a-]", "^", true),
            ("[]a", "a", false),
            ("[\\]]", "]", true),
            ("[\\", "\\", true),
            ("a*b*c", "aXXbYYc", true),
            ("a*b*c", "aXXbYY", false),
            ("*?", "", false),
            ("user:*:name", "user:12:name", true),
        ];
        for &(pattern, text, expected) in cases {
            let found = matches(pattern.as_bytes(), text.as_bytes(), false);
            assert_eq!(found, expected, "{pattern:?} on {text:?}");
        }
    }

    #[test]
    fn case_is_folded_on_request() {
        assert!(matches(b"HeL*[A-C]", b"hello b", true));
        assert!(!matches(b"HeL*", b"hello", false));
        assert!(!matches(b"[\\A]", b"a", true));
    }

    #[test]
    fn many_stars_do_not_explode() {
        let pattern = [b"a*".repeat(2000), b"b".to_vec()].concat();
        assert!(!matches(&pattern, &b"a".repeat(4000), false));
    }

    /// The meaning of a pattern, by trying every length for every star.
    fn naive(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
        match (pattern.first(), text.split_first()) {
            (None, rest) => rest.is_none(),
            (Some(b'*'), rest) => {
                naive(&pattern[1..], text, nocase)
                    || rest.is_some_and(|(_, rest)| naive(pattern, rest, nocase))
            }
            (Some(_), None) => false,
            (Some(_), Some((&byte, rest))) => {
                match_one(pattern, 0, byte, nocase).is_some_and(|next| naive(&pattern[next..], rest, nocase))
            }
        }
    }

    proptest! {
        #[test]
        fn equals_the_naive_model(pattern in r"[ab*?\[\]^\\A-]{0,10}", text in "[abA\\]-]{0,10}", nocase in any::<bool>()) {
            let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
            prop_assert_eq!(matches(pattern, text, nocase), naive(pattern, text, nocase));
        }
    }
}

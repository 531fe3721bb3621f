//! What `bit` answers, beside what redis-server 7.0 answers.

use super::assert_results;

#[test]
fn results_and_errors_are_those_of_redis() {
    assert_results(ROWS);
}

#[rustfmt::skip]
const ROWS: &[(&str, &str)] = &[
    ("bit.tobit(0xffffffff)", "number=-1"),
    ("bit.tobit(2^52)", "number=0"),
    ("bit.tobit(2^53+2)", "number=1"),
    ("bit.tobit(1/0)", "number=0"),
    ("bit.tobit(0/0)", "number=0"),
    ("bit.tobit(-1.5)", "number=-2"),
    ("bit.tobit(2.5)", "number=2"),
    ("bit.tobit(3.5)", "number=4"),
    ("bit.tobit('0x10')", "number=16"),
    ("bit.tobit('z')", "!user_script:1: bad argument #1 to 'tobit' (number expected, got string)"),
    ("bit.tobit(1e300)", "number=-2013235812"),
    ("bit.bnot(0)", "number=-1"),
    ("bit.band(0x12345678,0xff)", "number=120"),
    ("bit.bor(1,2,4,8)", "number=15"),
    ("bit.bxor(0xa5a5f0f0,0xaa55ff00)", "number=267390960"),
    ("bit.lshift(1,31)", "number=-2147483648"),
    ("bit.lshift(1,32)", "number=1"),
    ("bit.lshift(1,-1)", "number=-2147483648"),
    ("bit.rshift(-256,8)", "number=16777215"),
    ("bit.arshift(-256,8)", "number=-1"),
    ("bit.rol(0x12345678,12)", "number=1164411171"),
    ("bit.rol(1,0)", "number=1"),
    ("bit.ror(0x12345678,12)", "number=1736516421"),
    ("bit.ror(1,32)", "number=1"),
    ("bit.bswap(0x12345678)", "number=2018915346"),
    ("bit.tohex(1)", "string=00000001"),
    ("bit.tohex(-1,4)", "string=ffff"),
    ("bit.tohex(0xabcdef,-6)", "string=ABCDEF"),
    ("bit.tohex(1,0)", "string="),
    ("bit.tohex(1,-2147483648)", "string=00000001"),
    ("bit.tohex(1,100)", "string=00000001"),
    ("bit.tohex(1,nil)", "!user_script:1: bad argument #2 to 'tohex' (number expected, got nil)"),
    ("bit.band()", "!user_script:1: bad argument #1 to 'band' (number expected, got no value)"),
    ("bit.band({})", "!user_script:1: bad argument #1 to 'band' (number expected, got table)"),
    ("bit.band(1,{},'x')", "!user_script:1: bad argument #3 to 'band' (number expected, got string)"),
    ("bit.lshift(1)", "!user_script:1: bad argument #2 to 'lshift' (number expected, got no value)"),
    ("bit.lshift('a',1)", "!user_script:1: bad argument #1 to 'lshift' (number expected, got string)"),
];

//! Layer 2: the host of Lua scripts, without a server around it: interpreter states, their sandbox and libraries, and how
//! values pass between Lua and the protocol. It knows no keys, no clients and no locks: commands come in as a trait.

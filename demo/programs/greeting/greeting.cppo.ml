#define GREETING "hello from a restored cppo"
#ifndef QUIET
let () = print_endline GREETING
#endif

#define GREETING "hello from a restored cppo and ocamlbuild"
#ifndef QUIET
let () = print_endline GREETING
#endif

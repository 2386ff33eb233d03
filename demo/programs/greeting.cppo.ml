#define GREETING "hello from a restored cppo"
#if OCAML_VERSION >= (4, 0, 0)
let () = print_endline GREETING
#endif

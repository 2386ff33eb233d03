(* Where the machine's compiler is, and what it was: opam recompiles everything when the file changes. *)
let () =
  let ocamlc = Sys.executable_name ^ "c" in
  let out = open_out "ocaml-system.config" in
  Printf.fprintf out "opam-version: \"2.0\"\nfile-depends: [[%S %S]]\nvariables {\n  path: %S\n}\n"
    ocamlc (Digest.to_hex (Digest.file ocamlc)) (Filename.dirname ocamlc);
  close_out out

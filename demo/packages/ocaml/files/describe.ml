(* What other packages ask about the compiler: %{ocaml:native}% and the like. *)
let lines_of input =
  let rec next found = match input_line input with
    | line -> next (line :: found)
    | exception End_of_file -> List.rev found
  in
  next []

let libdir =
  if Sys.command (Sys.executable_name ^ "c -where > where") <> 0 then failwith "ocamlc -where";
  List.hd (lines_of (open_in "where"))

let () =
  let out = open_out "ocaml.config" in
  let bool name value = Printf.fprintf out "  %s: %b\n" name value in
  let string name value = Printf.fprintf out "  %s: %S\n" name value in
  output_string out "opam-version: \"2.0\"\nvariables {\n";
  bool "native" (Sys.file_exists (Sys.executable_name ^ "opt"));
  bool "native-tools" (Sys.file_exists (Sys.executable_name ^ "c.opt"));
  bool "native-dynlink" (Sys.file_exists (Filename.concat libdir "dynlink.cmxa"));
  bool "preinstalled" true;
  string "stubsdir" (String.concat ":" (lines_of (open_in (Filename.concat libdir "ld.conf"))));
  string "compiler" "system";
  output_string out "}\n";
  close_out out

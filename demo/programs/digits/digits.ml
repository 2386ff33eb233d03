(* The runs of equal digits in 2^n, found with re, computed with zarith. *)
let () =
  let power = Z.to_string (Z.pow (Z.of_int 2) (int_of_string Sys.argv.(1))) in
  let run = Re.compile (Re.alt (List.init 10 (fun d -> Re.repn (Re.char (Char.chr (48 + d))) 3 None))) in
  Printf.printf "2^%s has %d digits; runs of three and more: %s\n" Sys.argv.(1) (String.length power)
    (String.concat " " (Re.matches run power))

"""Files that a real OCaml 5.3 wrote, with compressed values in them, brought elsewhere.

Source: ``let prefix = "PREFIX"`` and ``let lib = "PREFIX/lib"``, PREFIX being the padded spelling of
/home/me/.opam/5.3; ``ocamlc -nopervasives -nostdlib -g -bin-annot -c where.ml``, then ``-a -o where.cma``.
"""

from __future__ import annotations

import base64
import zlib

import pytest

from opambin.model import Kind
from opambin.relocate.analysis import analyse
from opambin.relocate.identity import identity
from opambin.relocate.marshalheader import COMPRESSED, compressed_values
from opambin.relocate.rendering import render
from opambin.relocate.spelling import Spelling, pad
from opambin.relocate.unmarshal import read_value

SPELLING = Spelling.of(b"/home/me/.opam/5.3")
TARGETS = [b"/o", b"/home/me/.opam/5.3", b"/home/someone/else/in/a/much/longer/place/.opam/default"]
TREE = b"Caml1999T"


def _unpacked(text: str) -> bytes:
    return zlib.decompress(base64.b85decode(text))


CMT = _unpacked(
    "c-jHx1sVE7VQp+NIXO8=Ff%oTm8QK4e10BrZ78)b{Qy{<0{~<Ope0vmWpZVpu%ISza%E;|ct+5`vyh`Eb98cPZf8+IkU#<j_"
    "2B?O0R2F)z$kZUWpZUMZEQh6M8E_OK|o4CK(Pb?KtVvDu%IJsX<|pvz_SDi{y?z61P?+10N4Ql+}}Y#KtKZkSqY(~JcT!P28"
    "5NSz5oCK8vp<R1poj55dZ)H4xpeVS7>E&Wsopz&^f#Y>JR<<t%u`~bA<jtgq5bg00004000020000500005ppZa7Lt$-fF*!"
    "LoR4_9&gq5bf4~cS>D1%FnUyf-gwJ-euSWPDY`b7v2N1!gJ10Xn8$=ek_AV&Ehp2zd4b!%%YMpDOJjSb*`Kr?Pcz7vT&96@N"
    "Mn|&*KFn|E|gve~%nSdRzOr$9FCR{AQteD&Z)&SoC;Q-mGcG%aYUHX;u)!)6`^(<DHxY*{8c5S{mmSNZKRg?h1>a#z${Tp4U"
    ">a%UU+$DZYG1X4tw(tJG`<DT$G%>68ly2d+H}Ze-t7G_qt39Qo{1=57!&G~O+y1{R;dQuwuU>pT)~)>i*WW{b_hk1+H_d_Ix"
    "SbPEpD2E-{ZUa@u6zXl*W3n<+X=s$J$D8U1@PpvSh`lsBWsgbZcA?e2i$;{-A|AD6W{Up?e$$a1FB+W(qZ9N5^();vS1aPSh"
    "}2&(hsH7B~%qFQ;Zcy#Bn<TYF=*SSFAaIO<wqkHQUg;*t_DV11Ow*F)Tut+Q_?qr8lmB$O#6H<)&>nO+F4MIUkPOxlu)0Xg|"
    "=)Vjag0Xp=b;`?1hNBHK$-Z81b+%}=n^cF@4LfZ^hrT&gpiq}o%u3s^5kQo%@ZvCU1GwX+=MYirHs@BZv3|5V)OLc4b2B$k`"
    "juE{zy)U&6w6qyYgJ$p(=={^ZX9&M=FN|d^9u_Aj<JHC*$NfjJC7(vpoAz!=NMBMgWm#_8NK-~79bYc5=<qwD8YV&a0e+v=k"
    "7){LM#WC+<JKh>F8~Q--&y&_BE&ubR-#r9h;QwNd{=;w+soVh6A!znBVW6No3#v2B6y!y~6{xBIm*KcI$Cte)*;mEz^N5Bv4"
    "A83~O@?P)t=Une#j5DZ>a}2%-4{dqNJ+$^Sbuhr4QxGG%@M;P%p0GQfVPMlI&cVzwT8VMu`ee9?G7)VL_DiA55!)ksc7w%4B"
    "4e&(90O<XHS^ad*ix|Yun8QQ!IZ+t-Sz7zI8@h5<gF7!>@Kt2<-xswsB4V8jnGu!lskXsG$Wt5PPy)gkjH#<K(Y#8d$75yeF"
    "8g*_Y4`|E~W>;AHs(Tz5~F?_*N^Qc_8#lVnM*_}_6T1kPhps34P;91+LuxNhCk0Wy+lhE$O=#{ioET0TgHLgaL<|0Ot55du*"
    "j{FIj~M1#=jr?nCy|0!rK3oQ*6#Nu(1$78LYjPLzg*TPyCmRdb98_M#CZ|i5QH9LMau{Pn`YQ<P?ChallkxBo9O!`75{UMV|"
    "^_aBOk7UvTUg|e8=`)$M36n|37@4%lr2pkaV`Zj+*)Zq}0{;a53S4S{OYrjVcNoZ|KPD}^ZhF+4DZ|Y%+;s8yt@JUeE(&v~u"
    "`HyNF-DOY85xo^X$)Wjkujsw1`<H<VH$=>NQ?jqMiB~<QK9|M_+w;EK?p~Z3vZR*?CHX5FAFK+Ow(Uk<ghl<W=fLR5>eqQ6U"
    "AZ*|13OBv6t}s%{H)L&)>4E4l!R)T43IWf{0><OEEEHEk?K@$;3-?c2Q%u3{HvS0&eUQAWVDGu#bH-T0l<E^W)$f@TmGnH9%"
    "dl^?A(<P>fJEtkY&T?m^if+AhY-&R(tgR6wDZEok44y#uBy5N||fW<Xtv-gP^M?`y`=VL8H6p&xHt#UpVC!TUps^^*opkVDf"
    "ML4e~~&=o=h{CfUgc#!ae^;pRvke-)ZbJrxgE!t7<UIX<)_>V*MAP+A<(O(ryK`v5U^I2e40T#;6<p"
)
CMA = _unpacked(
    "c-nJL%*`>hw6t_IFg9giU=aoqU|<HNIiWNU5IaEG!a&Rf#FkKg%hY9i`P)_c44W!?_`4%Cw(9?7h`1}m@Xctwhrr~^j2a&t#"
    "26}dIN6*ousSZ7Cs}$du4-G8R06AN)TY#v9x4B)v~9aH_ed85!vdRzm&$*?9Z~XNnN;{$pnFyYV}pW(n^VV|=?rrj<}n!k&Y"
    "P}r@ri+SnBKNoRo7p2Z)WCK{>yrJ+tmx(T`v4Rbadsyc*o9VKA|&T$h%xvTED2oe(9>|TVKRiJF)x~zH1+4-Iuqx{;l{sEtz"
    "AQ7pE(|csIWzY4;cZs_tZKX9wkft<ud6i7Gm}vy5f;o?q~=$de(k?vY1NVfp=ahgDg*RD+I1uoTb#`pDXI;p%6rei>Zaz#`$"
    "ciTPXAqWysjSMQoCwU<|7R`%w19`cLZdUn{)+I2|d;{LL8Vftl)l@|&&UNxKX#USd-)~Ttcd)4<Jy6f7rxg*;3Ptl>XO7GS$"
    "TQcQOcJr+c0oDJv^p`9)dU393k-wty+{0|P(P|p*zl8O9WFG9$akzNBFV6kK(ks{7?x{7sTfuaGuF26mW>ujqcP&%a80)`&_"
    "b4YWXLq!zU+xFvWx2QHR_}bca<4dx{Q+jCg|Ynk!O7Dni$7pIJ9kIvBeug5q02J4o7gKI<i4!c?pM3KGO};eyRIhnMZ({o+d"
    "N|DW{ErD^Yo3Gxy{zqNe`MCI_H1xP%K!dmZqH=`EALA@&!ly_w3B_%~f+RzB+BT`1#o{eLJHs@_64^_qX#>Y?^xB`v@n4JM*"
    "(U<i!pd2nm^1&slo=%FeR6I<|c>H#<E$S!Lg;neRL;$$vuiuCIyQgwux$*gJy$T{viCYtZlcxxs0A{PYOb)SVZm*$JiZ*u3M"
    "4&4Le4CPh!pTDMAi@`a~!PEYNhA-s*FbWXvWu+6-gi@okdIe*Q`+>+LJj!Sd>rn9FirQ*(>+7$b3)2!uT>+h~AvtCleGP9?6"
    "o%;C%mTkeSO(mZNZO&fkRqt?w_u00X$ck$zA&b5AUtKs=5y~8~Vxqxf5kodXBcmV_&)W%1f|hC97zGV9mdq(`^9fKgUA(IBP"
    "D<2=n8)=QzYSNp2nlDMGTkmEZ4jY&O4Gt8S2ko)%t=A5K%Xa#%bcu@8~kU7T|97dlm1=KL_QrBTkr3OZ+>XrRew8C%ff#5rz"
    "fY?mmHIMtl;F&%w=Y>aE9QytG!0M_b!m#Ycyk8HOn^5xy!FANCem)^*?-tk#Dy*b4T%k*3~n5E>;%si7@X7eH8b3f`;AKB)K"
    "_VwKm^H*6?oidY8qZqkW@hhm!03aJ4<gH<!e7BrEk#if>rW2+FctLYz!&tdQL53Cw$H`bnjkIVlc6xqS=_jJKdUeHjoJTv))"
    "tz@W{b8lI6_lp0X7V8H~=6Z#qXxvBa<q?ccin5#cDfvKLc3&=NThKq0Xb25{B7A%;|!c*X|U;zu?1cRIlmV4M<@&En3w*B#h"
    ";+B67K)~R_$b25eZ~y@MAw6{"
)


def test_the_typed_tree_hides_the_prefix_from_a_search() -> None:
    assert SPELLING.padded not in CMT
    signature, tree = (tokens for _, tokens in compressed_values(CMT, 0, len(CMT)))
    assert (signature.count(SPELLING.padded), tree.count(SPELLING.padded)) == (0, 2)


@pytest.mark.parametrize("target", TARGETS)
def test_a_compressed_typed_tree_gets_another_prefix(target: bytes) -> None:
    found = analyse(CMT, SPELLING, "lib/where/where.cmt")
    assert [item.functional for item in found.occurrences] == [False, False]
    assert found.bound == ()
    assert found.content is not None
    moved = render(found.content, found.occurrences, target)
    start = moved.index(TREE)
    assert moved[:start] == CMT[: CMT.index(TREE)]  # the signature is as it was, compressed
    assert COMPRESSED not in moved[start:]
    assert moved.count(pad(target)) == 2
    assert moved.count(SPELLING.padded) == 2 * (target == SPELLING.canonical)
    tree, end = read_value(moved, start + 12)
    assert isinstance(tree, list)
    assert (tree[0], end) == (b"Where", len(moved))


@pytest.mark.parametrize("target", TARGETS)
def test_the_descriptor_of_a_library_beside_compressed_debug_data(target: bytes) -> None:
    found = analyse(CMA, SPELLING, "lib/where/where.cma")
    assert {item.kind for item in found.occurrences} == {Kind.MARSHAL}
    assert (found.bound, found.informational_leaks) == ((), 0)
    assert found.content is not None
    moved = render(found.content, found.occurrences, target)
    assert moved[:16] == CMA[:16]  # the code before the descriptor, compressed debug data included, stays
    assert moved[16 : int.from_bytes(CMA[12:16])] == CMA[16 : int.from_bytes(CMA[12:16])]
    assert SPELLING.padded not in moved
    assert (target in moved, moved.count(target + b"/lib")) == (True, 1)
    read_value(moved, int.from_bytes(moved[12:16]))


@pytest.mark.parametrize("data", [pytest.param(CMT, id="cmt"), pytest.param(CMA, id="cma")])
def test_the_placeholder_form_is_the_same_from_everywhere(data: bytes) -> None:
    first = analyse(data, SPELLING, "lib/where/x")
    for target in TARGETS[1:]:
        assert first.content is not None
        moved = render(first.content, first.occurrences, target)
        # What keeps its length is found again only under the padded spelling, as a restored file has it.
        again = analyse(moved, Spelling.of(target), "lib/where/x")
        assert again.content == first.content
        assert again.identity == first.identity == identity(first.content)

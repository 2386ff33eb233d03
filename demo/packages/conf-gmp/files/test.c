#include <gmp.h>

void test(void) {
  mpz_t n;
  mpz_init(n);
  mpz_clear(n);
}

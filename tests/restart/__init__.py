"""Operations against the embedded cluster, in virtual time."""

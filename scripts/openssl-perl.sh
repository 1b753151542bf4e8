#!/bin/sh
# Stands in for Perl where OpenSSL is built along (OPENSSL_SRC_PERL in .cargo/config.toml), and leaves out of it what an MQTT
# client never uses, in binaries that are copied over slow links: QUIC, DTLS, ciphers and signatures that no TLS 1.2
# or 1.3 broker needs, and formats of other protocols.
if [ "$1" = ./Configure ]; then
    set -- "$@" no-quic no-dtls no-srtp no-srp no-aria no-sm2 no-sm2-precomp no-sm3 no-sm4 no-bf no-cast no-rc2 no-rc4 no-md4 no-mdc2 \
        no-rmd160 no-whirlpool no-blake2 no-siv no-ocb no-siphash no-argon2 no-gost no-ml-dsa no-slh-dsa no-lms \
        no-cmp no-cms no-ts no-ct no-rfc3779 no-ec2m no-dsa no-ssl-trace no-sslkeylog
fi
exec perl "$@"

"""A site's own keys, made where they are used: a TLS key with a request for its certificate, and a signing key."""

from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from isthmus.certificates import key_digest
from isthmus.errors import ConfigInvalid, RequestInvalid
from isthmus.signatures import signing_key_statement

MIN_RSA_BITS = 2048

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class TlsKey:
    """A private TLS key: ECDSA P-256 or P-384, or RSA of at least 2048 bits."""

    private: PrivateKey = field(repr=False)

    @property
    def pem(self) -> str:
        """PKCS #8 without a passphrase."""
        return self.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()

    @property
    def public_der(self) -> bytes:
        """Its public half: SubjectPublicKeyInfo."""
        return self.private.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def fits(self, key_sha256: str) -> bool:
        """Whether a certificate for the key of this digest is for this one."""
        return key_digest(self.public_der) == key_sha256

    def signing_request(self) -> bytes:
        """A PKCS #10 request, DER. It names nobody: the aggregator knows whom the invitation was for."""
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        return request.sign(self.private, hashes.SHA256()).public_bytes(serialization.Encoding.DER)

    def prove(self, signing_key: bytes, *, federation: str) -> bytes:
        """Its signature over the statement that this Ed25519 public key signs for the same site."""
        statement = signing_key_statement(signing_key, federation=federation)
        if isinstance(self.private, rsa.RSAPrivateKey):
            return self.private.sign(statement, padding.PKCS1v15(), hashes.SHA256())
        return self.private.sign(statement, ec.ECDSA(hashes.SHA256()))


def new_tls_key() -> TlsKey:
    """A fresh ECDSA P-256 key."""
    return TlsKey(ec.generate_private_key(ec.SECP256R1()))


def new_signing_key() -> bytes:
    """A fresh Ed25519 private key, 32 bytes."""
    return Ed25519PrivateKey.generate().private_bytes_raw()


def read_tls_key(pem: bytes, *, where: str) -> TlsKey:
    """The private key in this PEM text.

    Raises:
        ConfigInvalid: It is none, is protected by a passphrase, or is of a kind that TLS here does not take.
    """
    try:
        private = serialization.load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise ConfigInvalid(f"The key in {where} is protected by a passphrase; store it without one.") from error
    except ValueError as error:
        raise ConfigInvalid(f"{where} holds no private key in PEM that can be read.") from error
    if not isinstance(private, PrivateKey):
        raise ConfigInvalid(f"The key in {where} is neither ECDSA nor RSA; TLS here takes no other.")
    return TlsKey(private)


def requested_key(signing_request_der: bytes) -> PublicKey:
    """The public key that a request asks a certificate for; its subject and extensions are not read.

    Raises:
        RequestInvalid: It is no request, its signature is wrong, or the key is of a kind or size that is not taken.
    """
    try:
        request = x509.load_der_x509_csr(signing_request_der)
        signed = request.is_signature_valid
        public = request.public_key()
    except Exception as error:  # the library's parser raises what OpenSSL makes of hostile bytes
        raise RequestInvalid("signing_request_der is no PKCS #10 request.", check="signing_request_der") from error
    if not signed:
        raise RequestInvalid("signing_request_der is not signed by the key it asks for.", check="signing_request_der")
    return _acceptable(public)


def _acceptable(public: object) -> PublicKey:
    if isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, ec.SECP256R1 | ec.SECP384R1):
        return public
    if isinstance(public, rsa.RSAPublicKey) and public.key_size >= MIN_RSA_BITS:
        return public
    raise RequestInvalid(
        f"The key must be ECDSA P-256 or P-384, or RSA of at least {MIN_RSA_BITS} bits.", check="signing_request_der"
    )


def is_proven(public: PublicKey, proof: bytes, *, signing_key: bytes, federation: str) -> bool:
    """Whether `TlsKey.prove` of this key's private half gave the proof."""
    statement = signing_key_statement(signing_key, federation=federation)
    try:
        if isinstance(public, rsa.RSAPublicKey):
            public.verify(proof, statement, padding.PKCS1v15(), hashes.SHA256())
        else:
            public.verify(proof, statement, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def public_key_in(certificate_der: bytes) -> PublicKey:
    """The public key of a certificate.

    Raises:
        RequestInvalid: It is of a kind or size that is not taken.
    """
    return _acceptable(x509.load_der_x509_certificate(certificate_der).public_key())

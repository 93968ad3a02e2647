"""JSON Web Tokens, RS256 and PS256: signed by the emulator's issuers, checked by those who take them.

Knows nothing of who may do what.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa


class BadToken(Exception):
    """No token, or one whose signature does not fit its key."""


def encode_part(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def decode_part(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError as error:
        raise BadToken("a part of the token is no base64url") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    header: dict[str, Any]
    claims: dict[str, Any]
    signed: bytes
    signature: bytes


def parse(text: str) -> Token:
    """The token's parts, its signature unchecked."""
    parts = text.split(".")
    if len(parts) != 3:
        raise BadToken("a token has three parts")
    try:
        header, claims = (json.loads(decode_part(part)) for part in parts[:2])
    except ValueError as error:
        raise BadToken("a part of the token is no JSON") from error
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise BadToken("a part of the token is no JSON object")
    return Token(
        header=header, claims=claims, signed=f"{parts[0]}.{parts[1]}".encode(), signature=decode_part(parts[2])
    )


def check(token: Token, key: rsa.RSAPublicKey) -> None:
    """Raises BadToken unless `key` signed the token."""
    match token.header.get("alg"):
        case "RS256":
            scheme: padding.AsymmetricPadding = padding.PKCS1v15()
        case "PS256":
            scheme = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
        case other:
            raise BadToken(f"the algorithm {other} is not taken")
    try:
        key.verify(token.signature, token.signed, scheme, hashes.SHA256())
    except InvalidSignature as error:
        raise BadToken("the signature does not fit the key") from error


class SigningKey:
    def __init__(self, private: rsa.RSAPrivateKey | None = None) -> None:
        self.private = private or rsa.generate_private_key(65537, 2048)
        self.public = self.private.public_key()
        der = self.public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.key_id = encode_part(hashlib.sha256(der).digest())

    def sign(self, claims: dict[str, Any]) -> str:
        header = {"typ": "JWT", "alg": "RS256", "kid": self.key_id, "x5t": self.key_id}
        signed = ".".join(encode_part(json.dumps(part).encode()) for part in (header, claims))
        signature = self.private.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{encode_part(signature)}"

    def jwk(self) -> dict[str, str]:
        numbers = self.public.public_numbers()
        modulus = numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8)
        exponent = numbers.e.to_bytes((numbers.e.bit_length() + 7) // 8)
        return {
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": self.key_id,
            "n": encode_part(modulus),
            "e": encode_part(exponent),
        }


class Keys:
    """A signing key per issuer, made when first asked for."""

    def __init__(self) -> None:
        self._keys: dict[str, SigningKey] = {}
        self._lock = threading.Lock()

    def of(self, issuer: str) -> SigningKey:
        with self._lock:
            if issuer not in self._keys:
                self._keys[issuer] = SigningKey()
            return self._keys[issuer]

    def dump(self) -> dict[str, bytes]:
        return {
            issuer: key.private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            for issuer, key in self._keys.items()
        }

    def load(self, saved: dict[str, bytes]) -> None:
        for issuer, pem in saved.items():
            private = serialization.load_pem_private_key(pem, None)
            assert isinstance(private, rsa.RSAPrivateKey)
            self._keys[issuer] = SigningKey(private)

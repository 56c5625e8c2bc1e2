// Package sign is who vouches for a module: ed25519 keys, and signatures beside the files that they are of. It reads and writes texts, not
// files; that a signed file is looked at before it is compiled is package host's business.
//
// What is signed are 48 bytes, never the file itself: no signature made for anything else fits, and a file need not be in memory twice.
//
//	 0                                16                                        48
//	+--------------------------------+-----------------------------------------+
//	| "sluice-module-1" and a zero   | sha256 of the file                      |
//	+--------------------------------+-----------------------------------------+
//
// Keys and signatures are lines of text; blank lines and those that begin with # count for nothing:
//
//	sluice-private-key 1 BASE64     32 bytes: the seed
//	sluice-public-key 1 BASE64      32 bytes; a file may hold several, any of which is trusted
//	sluice-signature 1 KEY BASE64   KEY: 16 hex digits, the first 8 bytes of the sha256 of the public key; 64 bytes
package sign

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// MaxText bounds a file of keys and one of a signature.
const MaxText = 64 << 10

const (
	privateWord   = "sluice-private-key"
	publicWord    = "sluice-public-key"
	signatureWord = "sluice-signature"
	domain        = "sluice-module-1\x00"
	maxKeys       = 64
)

// Why a file is not trusted.
var (
	ErrUnsigned = errors.New("not signed")
	ErrKey      = errors.New("signed by a key that is not trusted")
	ErrAltered  = errors.New("the file is not the one that was signed")
	ErrFormat   = errors.New("malformed")
)

// Private signs.
type Private struct{ key ed25519.PrivateKey }

// Public is the keys that are trusted.
type Public []ed25519.PublicKey

// Generate makes a key.
func Generate() (Private, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return Private{key}, err
}

// Text is the private key as a file holds it.
func (p Private) Text() string {
	return fmt.Sprintf("%s 1 %s\n", privateWord, base64.StdEncoding.EncodeToString(p.key.Seed()))
}

// Public is the key that others need.
func (p Private) Public() Public { return Public{p.key.Public().(ed25519.PublicKey)} }

// Text is the keys as a file holds them.
func (p Public) Text() string {
	var b strings.Builder
	for _, key := range p {
		fmt.Fprintf(&b, "%s 1 %s\n", publicWord, base64.StdEncoding.EncodeToString(key))
	}
	return b.String()
}

// IDs names the keys, for people.
func (p Public) IDs() (ids []string) {
	for _, key := range p {
		ids = append(ids, id(key))
	}
	return ids
}

func id(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:8])
}

// Sign signs a file of that sha256.
func (p Private) Sign(sum [sha256.Size]byte) string {
	signature := ed25519.Sign(p.key, message(sum))
	return fmt.Sprintf("%s 1 %s %s\n", signatureWord, p.Public().IDs()[0], base64.StdEncoding.EncodeToString(signature))
}

func message(sum [sha256.Size]byte) []byte { return append([]byte(domain), sum[:]...) }

// Verify fails with ErrUnsigned, ErrKey, ErrAltered or ErrFormat where text is not one of p's signatures of a file of that sha256.
func (p Public) Verify(sum [sha256.Size]byte, text string) error {
	found := lines(text)
	if len(found) == 0 {
		return ErrUnsigned
	}
	if len(found) > 1 {
		return fmt.Errorf("signature: %w: %d lines, want one", ErrFormat, len(found))
	}
	words := found[0]
	if len(words) != 4 || words[0] != signatureWord || words[1] != "1" {
		return fmt.Errorf("signature: %w, want %s 1 KEY BASE64", ErrFormat, signatureWord)
	}
	signature, err := bytesOf(words[3], ed25519.SignatureSize)
	if err != nil {
		return fmt.Errorf("signature: %w", err)
	}
	at := slices.Index(p.IDs(), words[2])
	if at < 0 {
		return fmt.Errorf("%w: %.16s, want %s", ErrKey, words[2], strings.Join(p.IDs(), " or "))
	}
	if !ed25519.Verify(p[at], message(sum), signature) {
		return fmt.Errorf("%w by %s", ErrAltered, words[2])
	}
	return nil
}

// Signer is the ID of the key that a signature says it is made with, empty where text is none. Whether it is, Verify tells.
func Signer(text string) string {
	if found := lines(text); len(found) == 1 && len(found[0]) == 4 {
		return found[0][2]
	}
	return ""
}

// ParsePublic reads a file of public keys.
func ParsePublic(text string) (Public, error) {
	var keys Public
	for _, words := range lines(text) {
		key, err := key(words, publicWord, ed25519.PublicKeySize)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 || len(keys) > maxKeys {
		return nil, fmt.Errorf("%w: %d keys, want 1..%d lines %s 1 BASE64", ErrFormat, len(keys), maxKeys, publicWord)
	}
	return keys, nil
}

// ParsePrivate reads a file of a private key. Errors show nothing of it.
func ParsePrivate(text string) (Private, error) {
	found := lines(text)
	if len(found) != 1 {
		return Private{}, fmt.Errorf("%w: %d lines, want one: %s 1 BASE64", ErrFormat, len(found), privateWord)
	}
	seed, err := key(found[0], privateWord, ed25519.SeedSize)
	if err != nil {
		return Private{}, err
	}
	return Private{ed25519.NewKeyFromSeed(seed)}, nil
}

func key(words []string, word string, size int) ([]byte, error) {
	if len(words) != 3 || words[0] != word || words[1] != "1" {
		return nil, fmt.Errorf("%w, want %s 1 BASE64", ErrFormat, word)
	}
	return bytesOf(words[2], size)
}

func bytesOf(text string, size int) ([]byte, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != size {
		return nil, fmt.Errorf("%w: %d letters that are not %d bytes in base64", ErrFormat, len(text), size)
	}
	return b, nil
}

// lines are the words of each line that counts.
func lines(text string) (out [][]string) {
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); len(words) > 0 && !strings.HasPrefix(words[0], "#") {
			out = append(out, words)
		}
	}
	return out
}

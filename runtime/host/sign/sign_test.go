package sign

import (
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
)

func generate(t *testing.T) Private {
	t.Helper()
	k, err := Generate()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestVerify(t *testing.T) {
	site, other := generate(t), generate(t)
	sum, changed := sha256.Sum256([]byte("module")), sha256.Sum256([]byte("modulf"))
	good := site.Sign(sum)
	words := strings.Fields(good)
	both := append(other.Public(), site.Public()...)
	tests := []struct {
		name string
		keys Public
		sum  [sha256.Size]byte
		text string
		want error
	}{
		{"signed", site.Public(), sum, good, nil},
		{"with a comment", site.Public(), sum, "# by the site\n\n" + good, nil},
		{"one of two keys", both, sum, good, nil},
		{"empty", site.Public(), sum, "", ErrUnsigned},
		{"comment alone", site.Public(), sum, "# nothing\n", ErrUnsigned},
		{"another key", other.Public(), sum, good, ErrKey},
		{"altered file", site.Public(), changed, good, ErrAltered},
		{"key of one, signature of the other", both, sum, "sluice-signature 1 " + other.Public().IDs()[0] + " " + words[3], ErrAltered},
		{"truncated", site.Public(), sum, good[:len(good)/2], ErrFormat},
		{"a letter less", site.Public(), sum, good[:len(good)-2], ErrFormat},
		{"no base64", site.Public(), sum, strings.Join(words[:3], " ") + " ???", ErrFormat},
		{"another version", site.Public(), sum, strings.Replace(good, " 1 ", " 2 ", 1), ErrFormat},
		{"two of them", site.Public(), sum, good + good, ErrFormat},
		{"a public key", site.Public(), sum, site.Public().Text(), ErrFormat},
		{"no key", nil, sum, good, ErrKey},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.keys.Verify(tt.sum, tt.text); !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Errorf("%v, want %v", err, tt.want)
			}
		})
	}
}

func TestKeys(t *testing.T) {
	k := generate(t)
	again, err := ParsePrivate(k.Text())
	if err != nil || again.Public().IDs()[0] != k.Public().IDs()[0] {
		t.Errorf("%v, %v, want the key", again.Public().IDs(), err)
	}
	pub, err := ParsePublic("# the site's\n" + k.Public().Text() + generate(t).Public().Text())
	if err != nil || len(pub) != 2 || pub[0].Equal(k.Public()[0]) == false {
		t.Errorf("%v, %v, want two keys", pub, err)
	}
	for name, text := range map[string]string{
		"empty": "", "private key": k.Text(), "short": "sluice-public-key 1 AAAA\n", "many": strings.Repeat(k.Public().Text(), maxKeys+1),
		"truncated": k.Public().Text()[:30],
	} {
		if _, err := ParsePublic(text); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v, want %v", name, err, ErrFormat)
		}
	}
	for name, text := range map[string]string{"empty": "", "public key": k.Public().Text(), "truncated": k.Text()[:40], "two": k.Text() + k.Text()} {
		_, err := ParsePrivate(text)
		if !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v, want %v", name, err, ErrFormat)
		} else if strings.Contains(err.Error(), strings.Fields(k.Text())[2][:10]) {
			t.Errorf("%s: %v shows the key", name, err)
		}
	}
}

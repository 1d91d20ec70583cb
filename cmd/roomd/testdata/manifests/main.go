// Command manifests checks files for container platforms against the platforms' own types: every field must be known.
//
//	manifests FILE...   (compose.yaml: Compose; any other: Kubernetes)
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/compose-spec/compose-go/v2/cli"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

func main() {
	for _, file := range os.Args[1:] {
		check := kubernetes
		if filepath.Base(file) == "compose.yaml" {
			check = compose
		}
		if err := check(file); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", file, err)
			os.Exit(1)
		}
	}
}

func compose(file string) error {
	options, err := cli.NewProjectOptions([]string{file}, cli.WithName("roomd"))
	if err != nil {
		return err
	}
	_, err = options.LoadProject(context.Background())
	return err
}

func kubernetes(file string) error {
	scheme := runtime.NewScheme() // the kinds that the examples may have
	corev1.AddToScheme(scheme)
	appsv1.AddToScheme(scheme)
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for _, document := range bytes.Split(text, []byte("\n---\n")) {
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal(document, &kind); err != nil {
			return err
		}
		object, err := scheme.New(kind.GroupVersionKind())
		if err != nil {
			return err
		}
		if err := yaml.UnmarshalStrict(document, object); err != nil {
			return fmt.Errorf("%s: %w", kind.Kind, err)
		}
	}
	return nil
}
